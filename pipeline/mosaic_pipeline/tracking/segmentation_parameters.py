"""What decides a training of segmentation, by the keys of params.yaml, as `parameters` has it for classification."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mosaic_pipeline.layout import segmentation_config
from mosaic_pipeline.params import Params
from mosaic_pipeline.redact import redacted
from mosaic_pipeline.segmentation.config import Config, dump_config, resolve
from mosaic_pipeline.tracking.parameters import value_at, warn_outdated
from mosaic_pipeline.tracking.subject import Subject

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.params import Segmentation

# Of what is declared of a set of one's own: how its files are called, and what is said of it.
NO_INFLUENCE = ("layout", "title", "licence")


def subject(params: Params, variant: str, config: Config, seed: int) -> Subject:
    """Return what the run of a training says of it; `config` is as for `parameters`."""
    why, decisive = params.segmentation.ablation.reasons()[variant], parameters(params, variant, config, seed)
    return Subject(variant, seed, why, decisive, segmentation_config(variant), dump_config(config))


def parameters(params: Params, variant: str, config: Config, seed: int) -> dict[str, Any]:
    """Return what decides a training by dotted key of params.yaml, and its `seed`.

    The seed alone, and a warning, if params.yaml was changed since `config`, which is what is trained, was resolved.
    """
    if dump_config(resolve(params, variant, config.datasets)) != dump_config(config):
        warn_outdated(str(segmentation_config(variant)), "seg_configure")
        return {"seed": seed}
    own = params.segmentation_variant(variant)
    tree = own.model_dump(mode="json")
    tree["model"]["weights"] = own.model.weights and redacted(own.model.weights)
    keys = (*_keys_of_data(own, config), *_keys_of_model(config))
    found = {f"segmentation.{key}": value_at(tree, key) for key in keys}
    # Names of organs, which MLflow would refuse in the name of a parameter, stay values.
    found = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in found.items()}
    return found | {"compute.precision": params.compute.precision, "seed": seed}


def _keys_of_data(own: "Segmentation", config: Config) -> Iterator[str]:
    data = own.data
    yield from ("data.source", "data.datasets", "data.slices", "data.case_limit")
    if data.slices == "foreground":
        yield from ("data.empty_share", "data.split.seed")  # which draws them
    if data.source == "phantom":  # they come with their splits; phantom.test decides nothing that a training reads
        yield from ("phantom.train", "phantom.val", "phantom.size")
    else:
        yield from ("data.split.file",) if data.split.file else ("data.split.test", "data.split.val", "data.split.seed")
    declared = {name: data.custom[name] for name in config.datasets if name in data.custom}
    for name, custom in declared.items():
        yield from (f"data.custom.{name}.{key}" for key in type(custom).model_fields if key not in NO_INFLUENCE)
    windowed = {name for name, custom in declared.items() if custom.window}
    scaled = [each.modality for name, each in config.datasets.items() if name not in windowed]
    if "ct" in scaled:
        yield "intensity.ct_window"
    if any(modality != "ct" for modality in scaled):
        yield "intensity.percentiles"


def _keys_of_model(config: Config) -> Iterator[str]:
    """Keys that have a value in the configuration, and what it does without."""
    experts = config.experts
    found = {
        "model": dict(config.model) | {"weights": True},
        "experts": dict(experts) | {"of": None, "names": None, "mix": None, "added": None},
        "train": dict(config.train) | {"augment": None},
    }
    if len(experts.names) > 1 and experts.routing != "single":
        found["experts"]["mix"] = experts.mix
        if experts.mix == "hard" and experts.head == "dataset" and experts.routing in ("modality", "dataset"):
            found["experts"]["added"] = experts.added or 0
    if config.train.schedule != "cosine" or not config.train.pretrain_rounds + config.train.expert_rounds:
        found["train"]["warmup_rounds"] = None  # nothing warms up
    yield from (f"train.augment.{key}" for key in type(config.train.augment).model_fields)
    for section, values in found.items():
        yield from (f"{section}.{key}" for key, value in values.items() if value is not None)
