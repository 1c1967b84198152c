"""Write one zip of an experiment for a colleague: report, results, configuration, parameters, model cards, provenance.

It is an RO-Crate. What params.yaml says of this machine, absolute paths, passwords and the values of addresses'
queries, is taken out.
"""

import re
from dataclasses import replace
from pathlib import Path

from mosaic_pipeline.arguments import CommandParser
from mosaic_pipeline.command import run_command


def main() -> None:
    """Share the workspace, or an experiment or revision as it was committed."""
    parser = CommandParser("share", __doc__)
    parser.add_argument("experiment", nargs="?", help="a DVC experiment or a git revision; default: the workspace")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE.zip", help="default: mosaic-<experiment>.zip")
    arguments = parser.parse_args()

    from mosaic_pipeline.layout import root
    from mosaic_pipeline.provenance.archive import check_archive
    from mosaic_pipeline.provenance.find import Finder
    from mosaic_pipeline.provenance.runs import Runs
    from mosaic_pipeline.provenance.share import write_share
    from mosaic_pipeline.provenance.snapshot import Snapshot
    from mosaic_pipeline.provenance.things import of_snapshot

    snapshot = Snapshot(root())
    runs, name, kind = Runs(snapshot.root), arguments.experiment or "workspace", "workspace"
    if arguments.experiment:
        kind = "experiment"
        snapshot = replace(snapshot, commit=Finder(snapshot, runs, Path.cwd()).commit(arguments.experiment))
    path = arguments.out or Path(f"mosaic-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.zip")
    check_archive(path)
    node = of_snapshot(snapshot, runs, kind, name)
    files = write_share(node, snapshot, path, name)
    print(f"{path}: {len(files)} files, {path.stat().st_size / 1e6:,.1f} MB; an RO-Crate, provenance.json has the tree")
    for each in node.differing():
        print(f"warning: {each.name} is not what is recorded: {each.why}")


if __name__ == "__main__":
    run_command(main)
