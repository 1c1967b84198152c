"""Stage `configure`: params.yaml -> candidates/<variant>.yaml."""

from mosaic_pipeline.arguments import VARIANT, read_arguments
from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.candidates import dump_candidates, resolve_candidates
from mosaic_pipeline.command import run_command
from mosaic_pipeline.layout import candidates_file
from mosaic_pipeline.params import load_params


def main() -> None:
    """Resolve one variant and write its configuration, or all those that tuning tries."""
    (variant,) = read_arguments("configure", __doc__, VARIANT)

    candidates = resolve_candidates(load_params(), variant)
    write_text(candidates_file(variant), dump_candidates(candidates))
    config, number = candidates.tried[0].config, len(candidates.tried)
    datasets = f"{len(config.datasets)} dataset{'s' if len(config.datasets) > 1 else ''}"
    tried = f", {number} candidate{'s' if number > 1 else ''}" if candidates.seed is not None else ""
    print(f"{candidates_file(variant)}: {datasets}, specialists {config.routing.sizes or 'none'}{tried}")


if __name__ == "__main__":
    run_command(main)
