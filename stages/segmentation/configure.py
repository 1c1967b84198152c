"""Stage `seg_configure`: params.yaml and the indexes -> segmentation/configs/<variant>.yaml.

Beside it roles/<variant>.json, what the variant is among the others.
"""

from mosaic_pipeline.arguments import SEG_VARIANT, read_arguments
from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.command import run_command
from mosaic_pipeline.layout import index_file, segmentation_config
from mosaic_pipeline.params import load_params


def main() -> None:
    """Resolve one variant to what can influence its training; refuse scans that are in two sets."""
    (variant,) = read_arguments("segmentation.configure", __doc__, SEG_VARIANT)
    params = load_params()
    params.segmentation_variant(variant)

    from mosaic_pipeline.segmentation.config import dump_config, resolve
    from mosaic_pipeline.segmentation.data.index import read_index, refuse_shared
    from mosaic_pipeline.segmentation.role import write_role

    indices = [read_index(index_file(name)) for name in params.segmentation.data.datasets]
    refuse_shared(indices)
    config = resolve(params, variant, {index.dataset: index.labelled_set for index in indices})
    write_role(params.segmentation, variant)
    write_text(segmentation_config(variant), dump_config(config))
    sets, experts = f"{len(indices)} set{'s' * (len(indices) > 1)}", ", ".join(config.experts.names)
    print(f"{segmentation_config(variant)}: {sets}, experts {experts}, {config.experts.mix}")


if __name__ == "__main__":
    run_command(main)
