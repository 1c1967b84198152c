"""A resolved variant in numbers: parameters by component, what a batch trains, and what computing takes."""

from typing import Any

from mosaic_pipeline.segmentation.config import Config


def describe(config: Config, variant: str) -> dict[str, Any]:
    """Return sizes and costs of a variant; the model is built on the meta device, where tensors have no storage."""
    from mosaic_pipeline.segmentation.model.cost import on_meta, slice_macs, step_flops

    model = on_meta(config)
    counts = model.parameter_counts()
    total = counts.pop("total")
    del counts["trainable"]  # which is all
    # A dataset's classes are a few rows of the head, so one dataset stands for all of a phase.
    phases = {phase: config.datasets_in(phase)[0] for phase in config.rounds if phase != "pretrain"}
    trained: dict[str, dict[str, int]] = {}
    for phase in phases:
        model.enter(phase)
        trained[phase] = {
            name: sum(p.numel() for _, p in model.active_parameters(name)) for name in config.datasets_in(phase)
        }
    return {
        "variant": variant,
        "datasets": {name: each.num_classes for name, each in config.datasets.items()},
        "routing": config.experts.routing,
        "experts_in": config.experts.where,
        "gate": config.experts.gate,
        "model": config.model.model_dump(mode="json", exclude={"weights"}),
        "total": total,
        "components": counts,
        "trained_by_a_batch": trained,
        "batch_size": config.train.batch_size,
        "macs_per_slice": {phase: slice_macs(model, dataset, phase) for phase, dataset in phases.items()},
        "flops_per_step": {
            phase: step_flops(model, dataset, phase, config.train.batch_size) for phase, dataset in phases.items()
        },
    }


def as_table(description: dict[str, Any]) -> str:
    """Lay the description out for a terminal."""
    components, model = dict(description["components"]), description["model"]
    experts = components.pop("experts")
    rows = [("trunk", components.pop("trunk")), *((f"expert {name}", count) for name, count in experts.items())]
    rows += [(name, count) for name, count in components.items() if count]
    rows.append(("total", description["total"]))
    width = max(16, *(len(name) + 1 for name, _ in rows))
    datasets = description["datasets"]
    lines = [
        f"{description['variant']}, {len(datasets)} dataset{'s' * (len(datasets) > 1)}: "
        + ", ".join(f"{name} ({classes} classes)" for name, classes in datasets.items()),
        f"  SwinUNet on {model['size']} x {model['size']} pixels, patches of {model['patch']}, windows of "
        f"{model['window']}; width {model['dim']}, blocks {model['depths']}, heads {model['heads']}",
        "",
        *(f"  {name:<{width}}{count:>14,}  {count / description['total']:>7.2%}" for name, count in rows),
        "",
    ]
    called = {"experts": "one expert", "gate": "all experts, gated", "adapt": "an expert that joins"}
    for phase, macs in description["macs_per_slice"].items():
        counts = sorted(set(description["trained_by_a_batch"][phase].values()))
        trained = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
        lines.append(
            f"  {called[phase]}: {macs / 1e9:.3g} GMAC a slice, a training step of {description['batch_size']} "
            f"{description['flops_per_step'][phase] / 1e12:.3g} TFLOP; a batch trains {trained} parameters"
        )
    return "\n".join(lines)
