"""Runs a stage as `python -m` does, and kills it as `kill -9` does once it has written so many checkpoints.

    python tests/stages/kill.py <checkpoints> <module> <argument>...

From outside no moment can be met: what counts is what is on the disk, and that is a checkpoint after every visit here.
"""

import math
import os
import runpy
import signal
import sys

from mosaic_pipeline.training import checkpoint


def main() -> None:
    """Run the module of the command line until then."""
    left = int(sys.argv.pop(1))
    checkpoint.LARGEST_SHARE = math.inf
    save = checkpoint.Checkpoints.save

    def save_and_die(*arguments) -> None:
        nonlocal left
        save(*arguments)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.Checkpoints.save = save_and_die
    sys.argv.pop(0)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
