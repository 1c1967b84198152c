"""Put a bundle into MLflow's registry: `mosaic register <bundle> [--name mosaic]`."""

import argparse
import re
from pathlib import Path

from mosaic_pipeline.arguments import CommandParser
from mosaic_pipeline.command import run_command

NAME = EXPERIMENT = "mosaic"


def main() -> None:
    """Register a version, once for each trained model; the alias `champion` goes to it if its validation is better."""
    parser = CommandParser("register", __doc__)
    parser.add_argument("bundle", type=Path, help="a folder that `mosaic bundle` wrote")
    parser.add_argument("--name", type=_name, default=NAME, help=f"of the registered model; default: {NAME}")
    parser.add_argument("--champion", action="store_true", help="move the alias `champion` to it in any case")
    arguments = parser.parse_args()

    # Heavy imports wait until the arguments are known to be good.
    from mosaic_pipeline.bundle import load_bundle
    from mosaic_pipeline.params import PARAMS_FILE, load_params
    from mosaic_pipeline.tracking.register import register

    bundle = load_bundle(arguments.bundle, "cpu")
    experiment = load_params().tracking.experiment if PARAMS_FILE.exists() else EXPERIMENT
    registered = register(bundle, arguments.name, experiment, crown=arguments.champion)
    uri = f"models:/{arguments.name}/{registered.version}"
    print(f"{uri}: {'registered' if registered.is_new else 'is this model already, nothing was logged'}")
    print(registered.champion)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.\-]{0,99}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a model (letters, digits, _, - and .)")
    return text


if __name__ == "__main__":
    run_command(main)
