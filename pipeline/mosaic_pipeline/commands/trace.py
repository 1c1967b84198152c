"""Print what a thing was made from, down to raw files, weights, code and runs, and what of it is still as recorded.

Of a model it is also told what was made from it.

Each line begins with how sure it is: verified (its bytes were hashed again), recorded (its bytes are not here), missing
(nothing here knows it), or differs (other bytes than recorded), with which the exit status is 1.
"""

import sys
from pathlib import Path

from mosaic_pipeline.arguments import CommandParser
from mosaic_pipeline.command import run_command

THING = (
    "a file, an md5 or its beginning, an MLflow run, models:/<name>/<version>, <name>@<alias>, a row "
    "(reports/results.csv:17, mosaic/42/pathmnist), a training (mosaic/42), a DVC experiment, a git revision, a bundle"
)


def main() -> None:
    """Print the tree of a thing as lines or as JSON."""
    parser = CommandParser("trace", __doc__)
    parser.add_argument("thing", help=THING)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--crate", type=Path, metavar="FILE.zip", help="write an RO-Crate of it too")
    arguments = parser.parse_args()

    from mosaic_pipeline.layout import root
    from mosaic_pipeline.provenance.find import Finder
    from mosaic_pipeline.provenance.runs import Runs
    from mosaic_pipeline.provenance.show import as_json, as_text
    from mosaic_pipeline.provenance.snapshot import Snapshot

    if arguments.crate:
        from mosaic_pipeline.provenance.archive import check_archive

        check_archive(arguments.crate)
    snapshot = Snapshot(root())
    node = Finder(snapshot, Runs(snapshot.root), Path.cwd()).trace(arguments.thing)
    print(as_json(node) if arguments.json else as_text(node))
    if arguments.crate:
        from mosaic_pipeline.provenance.crate import write_crate

        write_crate(node, snapshot, arguments.crate)
        print(f"{arguments.crate}: the tree, and its small files", file=sys.stderr)
    if wrong := node.differing():
        if not arguments.json:
            from mosaic_pipeline.provenance.show import how_to_mend

            print(f"{len(wrong)} not as recorded; {how_to_mend(wrong)}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run_command(main)
