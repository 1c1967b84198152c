"""Stage `weights`: a ViT's weights, from a file, a URL or a hub -> weights/backbone.safetensors."""

import sys

from pipeline.arguments import read_arguments
from pipeline.command import run_command
from pipeline.params import load_params


def main() -> None:
    """Find the weights, convert them, and say what became of them."""
    read_arguments("weights", __doc__)
    params = load_params()  # before the heavy imports: bad input is reported at once

    from pipeline.layout import BACKBONE
    from pipeline.model.backbone import build_backbone
    from pipeline.weights.account import account, mismatch, provenance_of
    from pipeline.weights.convert import save_backbone
    from pipeline.weights.fill import fill
    from pipeline.weights.load import known_statistics
    from pipeline.weights.source import locate

    model, arguments = params.model, params.model.backbone_args.given()
    vit = build_backbone(model.backbone, model.patch_size, model.image_size, backbone_args=arguments)
    source = locate(model.weights, model.weights_sha256, vit, model.backbone, arguments)
    contents = fill(vit, source.path, model.backbone)
    provenance = provenance_of(model, source, contents)
    if any(params.variant(name).model.normalisation == "auto" for name in params.ablation.run):
        known_statistics(provenance)
    save_backbone(vit, BACKBONE, provenance)
    if warning := mismatch(model.normalisation, source, contents):
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{BACKBONE}: {account(vit, source, contents)}")


if __name__ == "__main__":
    run_command(main)
