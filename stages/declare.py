"""Stage `declare`: params.yaml -> declared/<dataset>/source.yaml and about.yaml of each dataset that it names."""

from mosaic_pipeline.arguments import read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.declared import write_declarations
from mosaic_pipeline.layout import DECLARED
from mosaic_pipeline.params import load_params


def main() -> None:
    """Write what each dataset is, and what is said of it, into files of its own."""
    read_arguments("declare", __doc__)
    names = write_declarations(load_params())
    print(f"{DECLARED}: {', '.join(names)}")


if __name__ == "__main__":
    run_command(main)
