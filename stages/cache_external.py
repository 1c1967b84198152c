"""Stage `cache_external`: a dataset that no model is trained on, from its npz -> below data/external/cached/."""

from pipeline.arguments import EXTERNAL, read_arguments
from pipeline.command import run_command
from pipeline.layout import EXTERNAL_RAW, EXTERNAL_TEST, EXTERNAL_TRAINING
from pipeline.params import load_params
from stages.cache import unpack


def main() -> None:
    """Unpack one external dataset's npz: what a head is fitted to and chosen by, and the test split."""
    (name,) = read_arguments("cache_external", __doc__, EXTERNAL)
    load_params().check_listed("external", name)
    unpack(name, EXTERNAL_RAW, EXTERNAL_TRAINING, EXTERNAL_TEST)


if __name__ == "__main__":
    run_command(main)
