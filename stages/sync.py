"""Send to MLflow what an outage or a killed process kept from it. No stage of DVC's: it makes nothing.

Ends with 0 if nothing is left, with 2 and a line with the server and what is left otherwise.
"""

from mosaic_pipeline.arguments import read_arguments
from mosaic_pipeline.command import run_command


def main() -> None:
    """Send all that no process sends any more."""
    read_arguments("sync", __doc__)

    # MLflow waits until it is needed.
    from mosaic_pipeline.layout import root
    from mosaic_pipeline.tracking.sync import sync

    said = False
    for line in sync(root()):
        print(line, flush=True)
        said = True
    if not said:
        print("nothing is left to send")


if __name__ == "__main__":
    run_command(main)
