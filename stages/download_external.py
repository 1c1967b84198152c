"""Stage `download_external`: a dataset that no model is trained on -> data/external/raw/<dataset>.npz."""

from mosaic_pipeline.arguments import EXTERNAL, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.layout import EXTERNAL_RAW
from mosaic_pipeline.params import load_params
from stages.download import bring


def main() -> None:
    """Fetch, generate or read one external dataset's npz."""
    (name,) = read_arguments("download_external", __doc__, EXTERNAL)
    load_params().check_listed("external", name)
    bring(name, EXTERNAL_RAW)


if __name__ == "__main__":
    run_command(main)
