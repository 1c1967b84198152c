"""Describe a configuration without training it: parameters by component, and what computing takes."""

import json
from typing import Any

from mosaic_pipeline.arguments import CommandParser
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import PARAMS_FILE, Params, load_params, parse_params
from mosaic_pipeline.profile import overlay, profile_file, read_profile


def main() -> None:
    """Print the description as a table or as JSON."""
    parser = CommandParser("describe", __doc__)
    parser.add_argument("--profile", help="describe params.yaml with profiles/<name>.yaml laid over it")
    parser.add_argument(
        "--task", choices=("classification", "segmentation"), default="classification", help="default: classification"
    )
    parser.add_argument("--variant", help="a name in the task's ablation.variants; default: the first in ablation.run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    params = read_params(arguments.profile)
    if arguments.task == "segmentation":
        description, table = describe_segmentation(params, arguments.variant)
    else:
        description = describe(params, arguments.variant or params.ablation.run[0])
        table = as_table(description)
    print(json.dumps(description, indent=2) if arguments.json else table)


def read_params(profile: str | None) -> Params:
    """Return params.yaml, with a profile laid over it if one is named."""
    params = load_params()
    if profile is None:
        return params
    file = profile_file(profile)
    text = PARAMS_FILE.read_text(encoding="utf-8")
    return parse_params(overlay(text, read_profile(profile), str(file)), str(file))


def describe_segmentation(params: Params, variant: str | None) -> tuple[dict[str, Any], str]:
    """Return sizes and costs of a variant of segmentation, and the same as a table; no scan is needed for it.

    Without a name it is the first that runs, or if none does the first there is.
    """
    from mosaic_pipeline.segmentation import description
    from mosaic_pipeline.segmentation.config import resolve
    from mosaic_pipeline.segmentation.sources import find_set

    section = params.segmentation
    name = variant or next(iter((*section.ablation.run, *section.ablation.variants)))
    sets = {each: find_set(section, each) for each in section.data.datasets}
    described = description.describe(resolve(params, name, sets).for_seed(params.seeds[0]), name)
    return described, description.as_table(described)


def describe(params: Params, variant: str) -> dict[str, Any]:
    """Return sizes and costs of a variant; the model is built on the meta device, where tensors have no storage."""
    import torch

    from mosaic_pipeline.config import resolve
    from mosaic_pipeline.model.backbone import build_backbone, family
    from mosaic_pipeline.model.cost import tokens, training_flops
    from mosaic_pipeline.model.mosaic import build_mosaic

    config = resolve(params, variant).for_seed(params.seeds[0])
    with torch.device("meta"):
        arguments = params.model.backbone_args.given()
        sizes = (config.model.backbone, config.model.patch_size, config.model.image_size)
        backbone = build_backbone(*sizes, device="meta", backbone_args=arguments)
        model = build_mosaic(config, backbone, seed=0)
    counts = model.parameter_counts()
    trainable, total = counts["trainable"], counts["total"]
    model = model.to(torch.float32)
    kinds = {}
    for dimension, kind in ((2, "image"), (3, "volume")):
        of_kind = [name for name, dataset in config.datasets.items() if dataset.dimension == dimension]
        if of_kind:
            # One dataset for each specialist: the width of the bottleneck is all that differs.
            examples = {config.routing.datasets[name] or "none": name for name in reversed(of_kind)}
            model.gated = False
            flops = {specialist: training_flops(model, config, name) for specialist, name in sorted(examples.items())}
            if config.routing.gate:
                model.gated = True
                flops["all, gated"] = training_flops(model, config, of_kind[0])
            kinds[kind] = {
                "size": config.model.size(dimension) or config.model.image_size,
                "slices": config.model.slices if dimension == 3 else None,
                "tokens": tokens(config, dimension, backbone.num_prefix_tokens),
                "flops_per_step": flops,
            }
    return {
        "variant": variant,
        "backbone": config.model.backbone,
        "family": family(backbone),
        "blocks": len(backbone.blocks),
        "width": backbone.embed_dim,
        "heads": backbone.blocks[0].attn.num_heads,
        "prefix_tokens": backbone.num_prefix_tokens,
        "datasets": len(config.datasets),
        "trainable": trainable,
        "total": total,
        "trainable_share": round(trainable / total, 6),
        "components": {key: count for key, count in counts.items() if key not in ("trainable", "total")},
        "batch_size": config.train.batch_size,
        "inputs": kinds,
    }


def as_table(description: dict[str, Any]) -> str:
    """Lay the description out for a terminal."""
    components = dict(description["components"])
    specialists = components.pop("specialists")
    rows = [(f"specialist {name}", count) for name, count in specialists.items()]
    rows += [(name.replace("_", " "), count) for name, count in components.items() if count]
    rows += [("trainable", description["trainable"]), ("total", description["total"])]
    width = max(16, *(len(name) + 1 for name, _ in rows))
    lines = [
        f"{description['variant']} on {description['backbone']}, {description['datasets']} "
        f"dataset{'s' if description['datasets'] > 1 else ''}",
        f"  {description['family']}; {description['blocks']} blocks of width {description['width']} with "
        f"{description['heads']} heads; {description['prefix_tokens']} token"
        f"{'s' * (description['prefix_tokens'] > 1)} before the patches",
        "",
        *(f"  {name:<{width}}{count:>14,}  {count / description['total']:>7.2%}" for name, count in rows),
        "",
    ]
    for kind, cost in description["inputs"].items():
        sides = "x".join([str(cost["size"])] * (2 if kind == "image" or cost["slices"] else 3))
        sides = f"as {cost['slices']} slices of {sides}" if cost["slices"] else sides
        lines.append(f"  {kind} {sides}: {cost['tokens']} tokens; a training step of {description['batch_size']}:")
        width = max(8, *(len(name) + 1 for name in cost["flops_per_step"]))
        lines += [
            f"    specialist {name:<{width}}{flops / 1e12:8.3f} TFLOP" for name, flops in cost["flops_per_step"].items()
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
