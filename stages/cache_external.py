"""Stage `cache_external`: a dataset that no model is trained on, from its npz -> below data/external/cached/."""

from mosaic_pipeline.arguments import EXTERNAL, read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.layout import EXTERNAL_RAW, EXTERNAL_TEST, EXTERNAL_TRAINING, TRAINING_DATA
from mosaic_pipeline.params import load_params
from stages.cache import unpack


def main() -> None:
    """Unpack one external dataset's npz, of which no image may be one that models are trained on."""
    (name,) = read_arguments("cache_external", __doc__, EXTERNAL)
    params = load_params()
    params.check_listed("external", name)
    trained = [TRAINING_DATA / each for each in params.data.datasets]
    unpack(name, EXTERNAL_RAW, EXTERNAL_TRAINING, EXTERNAL_TEST, trained)


if __name__ == "__main__":
    run_command(main)
