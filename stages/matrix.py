"""Run an ablation cell by cell, a variant and a seed each: as jobs of Slurm, on this machine's GPUs, or anywhere.

`submit` prepares what all cells read, and queues them with a job that assembles the report; `status` says how they
stand; `assemble` renders the report of what is done, and never trains; `prepare` and `cell` are for any other
scheduler; `local` runs them here. All are of the commit that is checked out.
"""

import sys
from argparse import ArgumentTypeError

from mosaic_pipeline.arguments import Parser
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import load_params

PROGRAM = "python -m stages.matrix"
COMMANDS = ("submit", "status", "assemble", "prepare", "cell", "local")


class _Command(Parser):
    """The parser of one command."""

    def __init__(self, prog: str, doc: str) -> None:
        """As argparse makes one."""
        super().__init__(prog, doc)


def main() -> None:
    """Do what the first argument says."""
    before, options = _split(sys.argv[1:])
    arguments = _parser().parse_args(before)
    arguments.slurm = options
    load_params()

    # Heavy imports wait until the parameters are known to be good.
    from mosaic_pipeline.matrix import commands

    getattr(commands, arguments.command)(arguments)


def _parser() -> Parser:
    parser = Parser(PROGRAM, __doc__)
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar=" | ".join(COMMANDS),
        parser_class=_Command,
    )

    def add(name: str, said: str) -> Parser:
        return commands.add_parser(name, doc=said)

    submit = add("submit", "Queue what is missing as an array of jobs. What comes after -- goes to sbatch as it is.")
    submit.add_argument("--partition", help="Slurm's partition; default: the cluster's")
    submit.add_argument("--time", help="time limit of a cell, such as 24:00:00; at it a cell queues again by itself")
    submit.add_argument("--at-once", type=_count, metavar="N", help="cells that run at the same time, at most")
    submit.add_argument("--gpus", type=_whole, metavar="N", help="of each cell; default: compute.processes, 0 for cpu")
    add("status", "Say how each cell stands: done, running, waiting, failed or missing.")
    assemble = add("assemble", "Render the report and write dvc.lock, if all cells are done; never trains.")
    assemble.add_argument("--pull", action="store_true", help="bring what others pushed to DVC's remote first")
    add("prepare", "Make what all cells read, and say how another scheduler runs them.")
    cell = add("cell", "Run one cell, or what it lacks; a second time does nothing.")
    cell.add_argument("number", type=_whole, help="from 0; `status` lists them")
    cell.add_argument("--push", action="store_true", help="send the results to DVC's remote, for machines elsewhere")
    local = add(
        "local", "Run what is missing on this machine, each cell with GPUs of its own, and assemble the report."
    )
    local.add_argument(
        "--workers", type=_count, metavar="N", help="cells at the same time; default: as there are GPUs for"
    )
    return parser


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is no whole number, from 0")
    return int(text)


def _count(text: str) -> int:
    if not _whole(text):
        raise ArgumentTypeError("at least 1")
    return int(text)


def _split(given: list[str]) -> tuple[list[str], list[str]]:
    """Return what is ours, and what stands behind `--`."""
    place = given.index("--") if "--" in given else len(given)
    return given[:place], given[place + 1 :]


if __name__ == "__main__":
    run_command(main)
