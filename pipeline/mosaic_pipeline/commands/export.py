"""Write a bundle's model as ONNX graphs, one for each specialist: `mosaic export <bundle> --onnx`."""

from pathlib import Path
from typing import TYPE_CHECKING

from mosaic_pipeline.arguments import CommandParser
from mosaic_pipeline.command import run_command

if TYPE_CHECKING:
    from mosaic_pipeline.export.to_onnx import Exported


def main() -> None:
    """Write the folder, and a line for each graph that was found to answer as torch does."""
    parser = CommandParser("export", __doc__)
    parser.add_argument("bundle", type=Path, help="a folder that `mosaic bundle` made")
    parser.add_argument("--onnx", action="store_true", required=True, help="the format, the only one there is")
    parser.add_argument("-o", "--out", type=Path, help="default: <bundle>/onnx")
    arguments = parser.parse_args()

    from mosaic_pipeline.bundle import load_bundle
    from mosaic_pipeline.export.folder import write_export

    folder = arguments.out or arguments.bundle / "onnx"
    write_export(load_bundle(arguments.bundle, "cpu"), folder, _report)
    print(folder)


def _report(exported: "Exported") -> None:
    heads = ", ".join(exported.description["outputs"])
    print(f"{exported.file}: {heads}; within {exported.difference:.1e} of torch", flush=True)


if __name__ == "__main__":
    run_command(main)
