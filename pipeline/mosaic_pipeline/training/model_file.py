"""The trained model on disk: the trainable tensors of student and teacher, or of one composed of both; none frozen.

The file says whose it is, so that it is not taken for another training's, wherever it is copied to.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mosaic_pipeline.atomic import atomic
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import config_file, run_folder
from mosaic_pipeline.lineage import Lineage, read_lineage, read_training

if TYPE_CHECKING:
    from mosaic_pipeline.training.engine import Trained

MODEL = "model.safetensors"
TRAINING = "training"
MADE_BY_TRAIN = "`dvc repro train` makes it"


def identity(variant: str, seed: int, lineage: Lineage, datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """Return whose a model is: its variant and seed, the md5s of what it was trained from, and its datasets' forms."""
    forms = {name: dataset.form() for name, dataset in datasets.items()}
    return {"variant": variant, "seed": seed, "md5": lineage.md5, "data": lineage.data, "forms": forms}


def save_model(path: Path, whose: Mapping[str, Any], **models: dict[str, Tensor]) -> None:
    """Write the states of models as safetensors, names prefixed by the model's: `student.`, `teacher.`."""
    tensors = {
        f"{which}.{name}": tensor.contiguous() for which, state in models.items() for name, tensor in state.items()
    }
    # safetensors puts several metadata entries in random order, so all of it stands in one.
    metadata = {TRAINING: json.dumps(whose, sort_keys=True)}
    with atomic(path) as temporary:
        # Not `save_file`: it would replace the temporary file by one that nobody else may read.
        temporary.write_bytes(save(tensors, metadata))


def read_identity(path: Path, way_out: str = MADE_BY_TRAIN) -> dict[str, Any]:
    """Return whose a model file is. Raises PipelineError if there is none, or if it does not say."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(json.loads((file.metadata() or {})[TRAINING]))
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; {way_out}") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        raise PipelineError(f"{path}: not a model file of the train stage; {way_out}") from None


def read_trained(variant: str, seed: int, datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """Return train.json of a training, after holding its model file against it and against what it is to be made from.

    Raises PipelineError if the model is of another variant or seed, of another configuration, weights or training data
    than are there now, or not the one that train.json is about.
    """
    training, path = read_training(variant, seed), run_folder(variant, seed) / MODEL
    lineage = read_lineage(md5_file(config_file(variant)), datasets)
    whose = identity(variant, seed, lineage, datasets)
    check_trained(path, whose, training["md5"].get("model"), f"`dvc repro train@{variant}-{seed}` makes it")
    return training


def check_trained(path: Path, whose: Mapping[str, Any], md5: str | None, way_out: str) -> None:
    """Hold a model file against what it says of itself, and against the md5 that train.json beside it has.

    Raises PipelineError if it is of another variant or seed, or not of the inputs as they are now.
    """
    found = _flat(read_identity(path, way_out))
    for key, value in _flat(whose).items():
        if found.get(key) != value:
            raise PipelineError(
                f"{path}: not the model of {whose['variant']}, seed {whose['seed']}, as its inputs are now: {key} is "
                f"{found.get(key)}, expected {value}; {way_out}"
            )
    if md5 != md5_file(path):
        raise PipelineError(f"{path}: not the model that {path.parent / 'train.json'} is about; {way_out}")


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return an identity with the keys of its mappings dotted."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, Mapping) else {key: value}
    return flat


def load_model(path: Path, model: "Trained", which: str, way_out: str = MADE_BY_TRAIN) -> None:
    """Copy one of the file's models, such as the `student`, into `model`.

    Raises PipelineError if the file is missing, damaged or of another configuration, or if a value is not finite.
    """
    prefix = f"{which}."
    try:
        with safe_open(path, framework="pt") as file:
            state = {
                name.removeprefix(prefix): file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118 - not a mapping
                if name.startswith(prefix)
            }
        for name, tensor in state.items():
            if not tensor.isfinite().all():
                raise ValueError(f"{prefix}{name} holds values that are not finite")
        model.load_trainable_state(state)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(f"{path}: not a model of this configuration ({reason}); {way_out}") from None
