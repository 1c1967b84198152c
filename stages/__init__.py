"""One command for each stage of dvc.yaml, and the tools `describe` and `profile`."""

import signal
import sys

# While `python -m stages.<name>` looks for its module; elsewhere (tests, a notebook) the signals are not ours.
if sys.argv[:1] == ["-m"]:
    # Nothing is open yet, so that Ctrl-C may end the process as SIGTERM does, until `run_command` takes over.
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from pipeline.command import before_imports
    from pipeline.waiting import spin_briefly

    before_imports()
    spin_briefly()
