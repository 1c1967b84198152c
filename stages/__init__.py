"""One command for each stage of dvc.yaml, and the tools `describe` and `profile`."""

import sys

# While `python -m stages.<name>` looks for its module; elsewhere (tests, a notebook) the signals are not ours.
if sys.argv[:1] == ["-m"]:
    from pipeline.command import before_imports
    from pipeline.waiting import spin_briefly

    before_imports()
    spin_briefly()
