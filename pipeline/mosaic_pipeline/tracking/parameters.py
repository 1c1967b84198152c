"""What decides a training, by the keys of params.yaml: the parameters of its MLflow run.

A run is found by what somebody changed: that of `-S adapter.bottleneck_c=256` by this key and value. So keys and values
are those of params.yaml, with the variant's overrides and what tuning chose in place; what they resolve to is the
configuration, an artifact of the run. A key that cannot influence the training is left out, and so is where files lie:
their digests say what lay there.
"""

import sys
from collections.abc import Iterator
from typing import Any

from mosaic_pipeline.config import Config, dump_config, resolve
from mosaic_pipeline.layout import config_file
from mosaic_pipeline.model.kinds import KINDS
from mosaic_pipeline.params import Params
from mosaic_pipeline.redact import redacted
from mosaic_pipeline.tracking.subject import Subject

# What a configuration calls otherwise than params.yaml; all else of `model` and `train` has the same name.
NAMES = {
    "model.pretrained": "backbone.pretrained",
    "model.frozen": "backbone.frozen",
    "model.tokenizer_init": "tokenizer_3d.init",
    "model.tokenizer_trained": "tokenizer_3d.trained",
    "model.slices": "tokenizer_3d.slices",
    "train.prompt_strength_lr": "adapter.prompt_strength_lr",
    "momentum.d2": "ema.momentum",
    "momentum.d3": "ema.momentum_3d",
    "momentum.update": "ema.update",
    "routing.random_seed": "adapter.random_seed",
    "routing.gate": "adapter.gate",
    "routing.gate_start": "adapter.gate_start",
    "routing.gate_rounds": "adapter.gate_rounds",
    **{f"model.{name}": f"adapter.{key}" for form in KINDS.values() for name, key in form.settings.items()},
}
# Of what is declared of a dataset of one's own: where it lies, and whether a finding is an error.
NO_INFLUENCE = ("path", "allow_leakage")


def subject(params: Params, variant: str, config: Config, seed: int) -> Subject:
    """Return what the run of a training says of it; `config` is as for `parameters`."""
    why, decisive = params.ablation.reasons()[variant], parameters(params, variant, config, seed)
    return Subject(variant, seed, why, decisive, config_file(variant), dump_config(config))


def parameters(params: Params, variant: str, config: Config, seed: int) -> dict[str, Any]:
    """Return what decides a training by dotted key of params.yaml, and its `seed`.

    `config` is what is trained, whichever of the candidates that is where the variant is tuned. The seed alone, and a
    warning, if params.yaml was changed since that was resolved, as can only happen to a stage that is run by hand.
    """
    own = _chosen(params, variant, config)
    if own is None:
        warn_outdated(str(config_file(variant)), "tune")
        return {"seed": seed}
    keys = (*_keys_of_data(own, config), *_keys_of_model(own, config), *_keys_of_adapter(own, config))
    tree = own.model_dump(mode="json")
    tree["model"]["backbone_args"] = own.model.backbone_args.given()
    tree["model"]["weights"] = own.model.weights and redacted(own.model.weights)
    return {key: value_at(tree, key) for key in keys} | {"seed": seed}


def warn_outdated(file: str, stage: str) -> None:
    """Say that a configuration is not what params.yaml says, so that no value of that is the run's."""
    print(
        f"warning: MLflow: {file} is not what params.yaml says now, so the run gets no parameters; `dvc repro {stage}` "
        "makes it anew",
        file=sys.stderr,
    )


def value_at(tree: Any, key: str) -> Any:
    """Return the value of a nested mapping at a dotted key."""
    for part in key.split("."):
        tree = tree[part]
    return tree


def _chosen(params: Params, variant: str, config: Config) -> Params | None:
    """Return the parameters that resolve to this configuration; None if neither the variant's own nor the grid's do."""
    tuned = variant in params.ablation.tune.variants
    text = dump_config(config)
    for values in params.combinations(variant) if tuned else [None]:
        if dump_config(resolve(params, variant, values)) == text:
            return params.variant(variant, values=values)
    return None


def _keys_of_data(own: Params, config: Config) -> Iterator[str]:
    data = own.data
    official = [dataset for name, dataset in config.datasets.items() if name not in data.own]
    yield from ("data.datasets", "data.train_limit", "data.eval_limit")
    if official:
        yield "data.source"
        if data.source == "phantom":  # phantom.test decides nothing that a training reads
            yield from ("phantom.train", "phantom.val")
    for dimension in (2, 3):
        of_dimension = [name for name, dataset in config.datasets.items() if dataset.dimension == dimension]
        if any(name not in data.own or data.own[name].size is None for name in of_dimension):
            yield f"data.size_{dimension}d"
    grouped = set(_groups_that_count(own, config))
    for name in config.datasets:
        if name in data.own:
            yield from (f"data.own.{name}.{key}" for key in data.own[name].source() if key not in NO_INFLUENCE)
            if data.specialist(name) in grouped:
                yield f"data.own.{name}.specialist"


def _keys_of_model(own: Params, config: Config) -> Iterator[str]:
    """Keys of all but the adapter: those that have a value in the configuration, and what it does without."""
    for section in ("model", "train", "momentum", "routing"):
        for name, value in getattr(config, section):
            key = f"{section}.{name}"
            if value is not None and name != "pretrained" and (section != "routing" or key in NAMES):
                yield NAMES.get(key, key)
    if config.model.backbone_args is None:
        yield "model.backbone_args"
    if config.train.class_weights is None:
        yield "train.class_weights"
    if own.model.weights:
        yield "backbone.pretrained"
    if config.model.pretrained is None:
        yield "model.weights"
    if config.routing.tokenizers:
        yield "tokenizer_3d.kind"
    yield "compute.precision"


def _keys_of_adapter(own: Params, config: Config) -> Iterator[str]:
    routing, adapter = config.routing, own.adapter
    yield "adapter.kind"
    # Without specialists it says still which datasets share a 3D tokenizer, and whether each may be deployed apart.
    if routing.kind != "none" or routing.tokenizers or config.model.frozen:
        yield "adapter.routing"
    if routing.kind == "none":
        return
    if size := KINDS[routing.kind].size:
        yield f"adapter.{size}"
    else:
        widths = {f"bottleneck_{group.lower()}" for group in _groups_that_count(own, config)}
        if routing.name in ("shared", "per_dataset"):
            widths.add(f"bottleneck_{routing.name}")
        elif routing.name == "modality":
            widths |= {f"bottleneck_{name.lower()}" for name in routing.sizes}
        yield from (f"adapter.{key}" for key in type(adapter).model_fields if key in widths)
        yield from (f"adapter.{key}" for key in sorted(widths - type(adapter).model_fields.keys()))


def _groups_that_count(own: Params, config: Config) -> tuple[str, ...]:
    """Groups of datasets that have a specialist each, or whose widths decide that of others."""
    routing, adapter = config.routing, own.adapter
    widths = {"shared": adapter.bottleneck_shared, "per_dataset": adapter.bottleneck_per_dataset}
    own_sizes = routing.kind in KINDS and KINDS[routing.kind].size is None
    from_groups = own_sizes and widths.get(routing.name, 0) is None
    if routing.name in ("specialists", "random", "gated") or from_groups:
        return tuple(dict.fromkeys(own.data.groups().values()))
    return ()
