"""Write a trained model as one folder that needs neither this repository nor DVC: `mosaic bundle <variant> [seed]`."""

from pathlib import Path

from mosaic_pipeline.arguments import SEED, VARIANT, CommandParser
from mosaic_pipeline.command import run_command


def main() -> None:
    """Write `bundles/<variant>-<seed>/`: tensors, config.json, a model card, md5s and requirements."""
    parser = CommandParser("bundle", __doc__)
    parser.add_argument("variant", type=VARIANT.read, help=VARIANT.source)
    parser.add_argument("seed", type=SEED.read, nargs="?", help="one of seeds; default: the first")
    parser.add_argument("-o", "--out", type=Path, help="default: bundles/<variant>-<seed>")
    arguments = parser.parse_args()

    from mosaic_pipeline.bundle.write import write_bundle
    from mosaic_pipeline.params import load_params

    seed = load_params().seeds[0] if arguments.seed is None else arguments.seed
    folder = arguments.out or Path("bundles") / f"{arguments.variant}-{seed}"
    manifest = write_bundle(arguments.variant, seed, folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(
        f"{folder}: {len(manifest.datasets)} datasets, {size / 1e6:,.1f} MB, model {manifest.provenance.md5['model']}"
    )


if __name__ == "__main__":
    run_command(main)
