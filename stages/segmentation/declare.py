"""Stage `seg_declare`: params.yaml -> segmentation/results/variants.json."""

import json

from mosaic_pipeline.arguments import read_arguments
from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.command import run_command
from mosaic_pipeline.layout import variants_file
from mosaic_pipeline.params import load_params


def main() -> None:
    """Write which variants run, the main one first, and why each."""
    read_arguments("segmentation.declare", __doc__)
    section = load_params().segmentation
    reasons = section.ablation.reasons()
    variants = {name: reasons[name] for name in section.ablation.run}
    write_text(variants_file(), json.dumps(variants, indent=1, ensure_ascii=False) + "\n")
    print(f"{variants_file()}: {', '.join(variants) or 'no segmentation'}")


if __name__ == "__main__":
    run_command(main)
