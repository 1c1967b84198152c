"""Stage `check`: refuse a params.yaml that is not legal; one that is -> .cache/checked."""

from mosaic_pipeline.arguments import read_arguments
from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.command import run_command
from mosaic_pipeline.layout import CHECKED
from mosaic_pipeline.params import load_params


# It comes before all stages that work on names out of params.yaml: before DVC runs the command of such a stage, it
# deletes the files that the names lead to, wherever they are.
def main() -> None:
    """Read params.yaml as every stage does, and say that it is legal."""
    read_arguments("check", __doc__)
    load_params()
    # The same whatever is in params.yaml, so that nothing runs again because of it.
    write_text(CHECKED, "params.yaml is legal\n")
    print(f"{CHECKED}: params.yaml is legal")


if __name__ == "__main__":
    run_command(main)
