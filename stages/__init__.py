"""One command for each stage of dvc.yaml."""

import signal
import sys
from pathlib import Path

# The library beside these stages, whatever is installed: a queued experiment runs in a copy with code of its own.
sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))

# While `python -m stages.<name>` looks for its module; elsewhere (tests, a notebook) the signals are not ours.
if sys.argv[:1] == ["-m"]:
    # Nothing is open yet, so that Ctrl-C may end the process as SIGTERM does, until `run_command` takes over.
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from mosaic_pipeline.command import before_imports
    from mosaic_pipeline.waiting import spin_briefly

    before_imports()
    spin_briefly()
