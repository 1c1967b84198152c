"""Stage `configure`: params.yaml -> configs/<variant>.yaml."""

import argparse

from pipeline.atomic import write_text
from pipeline.command import run_command
from pipeline.config import dump_config, resolve
from pipeline.layout import config_file
from pipeline.params import load_params


def main() -> None:
    """Resolve one variant and write its configuration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant")
    variant = parser.parse_args().variant

    config = resolve(load_params(), variant)
    write_text(config_file(variant), dump_config(config))
    print(f"{config_file(variant)}: {len(config.datasets)} datasets, specialists {config.routing.sizes or 'none'}")


if __name__ == "__main__":
    run_command(main)
