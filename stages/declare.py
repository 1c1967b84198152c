"""Stage `declare`: params.yaml -> declared/<dataset>/source.yaml and about.yaml of each dataset that it names."""

from pipeline.arguments import read_arguments
from pipeline.command import run_command
from pipeline.declared import write_declarations
from pipeline.layout import DECLARED
from pipeline.params import load_params


def main() -> None:
    """Write what each dataset is, and what is said of it, into files of its own."""
    read_arguments("declare", __doc__)
    names = write_declarations(load_params())
    print(f"{DECLARED}: {', '.join(names)}")


if __name__ == "__main__":
    run_command(main)
