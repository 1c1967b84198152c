"""What runs in a throw-away clone: brings into place what a cell reads, and has DVC run its stages one by one.

    python -m mosaic_pipeline.matrix.inside <what is made already>... -- <what is to run>...

SIGTERM is for the stage alone, which gets it too: DVC has to live until it has stored what a stage finished meanwhile.
"""

import signal
import sys
from contextlib import suppress

from mosaic_pipeline.command import TERMINATING


def main() -> int:
    """Return the exit status of `dvc repro`."""
    for signum in (signal.SIGINT, *TERMINATING):
        signal.signal(signum, _leave_it_to_the_stage)  # a handler, which a child does not inherit, as it would SIG_IGN
    from dvc.cli import main as dvc
    from dvc.repo import Repo

    split = sys.argv.index("--")
    made, wanted = sys.argv[1:split], sys.argv[split + 1 :]
    with Repo() as repo, repo.lock:
        for name in made:
            with suppress(FileNotFoundError):  # of a file that is in no cache, which DVC lets pass for folders alone
                repo.stage.load_one(name=name).checkout(allow_missing=True)
    # Not one call for all: its graph is that of all cells.
    return dvc(["repro", "--single-item", *wanted])


def _leave_it_to_the_stage(*_: object) -> None:
    """Take a signal, and do nothing."""


if __name__ == "__main__":
    sys.exit(main())
