"""Stage `weights`: a ViT's weights, from a file, a URL or a hub -> weights/backbone.safetensors."""

import sys

from mosaic_pipeline.arguments import read_arguments
from mosaic_pipeline.command import run_command
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.params import load_params


def main() -> None:
    """Find the weights, convert them, and say what became of them."""
    read_arguments("weights", __doc__)
    params = load_params()  # before the heavy imports: bad input is reported at once

    from mosaic_pipeline.layout import BACKBONE
    from mosaic_pipeline.model.backbone import build_backbone
    from mosaic_pipeline.weights.account import account, hint, provenance_of, warnings
    from mosaic_pipeline.weights.convert import save_backbone
    from mosaic_pipeline.weights.fill import fill
    from mosaic_pipeline.weights.load import known_statistics
    from mosaic_pipeline.weights.source import locate

    model, arguments = params.model, params.model.backbone_args.given()
    vit = build_backbone(model.backbone, model.patch_size, model.image_size, backbone_args=arguments)
    source = locate(model.weights, model.weights_sha256, vit, model.backbone, arguments)
    contents = fill(vit, source.path, model.backbone)
    provenance = provenance_of(model, source, contents)
    normalisations = {name: params.variant(name).model.normalisation for name in params.ablation.run}
    if "auto" in normalisations.values():
        try:
            known_statistics(provenance)
        except PipelineError as error:
            raise PipelineError(f"{error}{hint(model.backbone, source)}") from None
    save_backbone(vit, BACKBONE, provenance)
    for warning in warnings(normalisations, model.backbone, source, contents):
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{BACKBONE}: {account(vit, model.backbone, source, contents)}")


if __name__ == "__main__":
    run_command(main)
