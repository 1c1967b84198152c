"""Stage `weights`: a ViT's weights, Google's npz or timm's safetensors -> weights/backbone.safetensors."""

from pipeline.arguments import read_arguments
from pipeline.command import run_command
from pipeline.params import load_params


def main() -> None:
    """Find the file, convert it, and say what became of its arrays."""
    read_arguments("weights", __doc__)
    params = load_params().model  # before the heavy imports: bad input is reported at once

    from pipeline.layout import BACKBONE
    from pipeline.model.backbone import build_backbone
    from pipeline.weights.convert import fill, save_backbone
    from pipeline.weights.source import locate

    model = build_backbone(params.backbone, params.patch_size, params.image_size)
    source = locate(params.weights, params.weights_sha256, model, params.backbone)
    contents = fill(model, source.path, params.backbone)
    positions = model.pos_embed.shape[1]

    provenance = {
        "backbone": params.backbone,
        "patch_size": params.patch_size,
        "image_size": params.image_size,
        "source": source.name,
        "sha256": source.sha256,
    }
    save_backbone(model, BACKBONE, provenance)
    print(
        f"{BACKBONE}: {sum(p.numel() for p in model.parameters()):,} parameters from {source.name} "
        f"(sha256 {source.sha256}), {len(contents.used)} arrays used, left out: "
        f"{', '.join(contents.left_out) or 'none'}"
        + (f", positions resized from {contents.tokens} to {positions}" if contents.tokens != positions else "")
    )


if __name__ == "__main__":
    run_command(main)
