"""Bundles in MLflow's registry: a version for each model, and the alias of the best of them."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_pipeline.bundle.load import Bundle
from mosaic_pipeline.bundle.manifest import Manifest
from mosaic_pipeline.bundle_files import MD5S, MEND, read_md5s
from mosaic_pipeline.digest import MODEL_TAG, md5_text
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.reading import reading
from mosaic_pipeline.tracking.store import Store, open_store, unusable

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

LOADER = "mosaic_pipeline.serving.pyfunc"
CHAMPION = "champion"
VALIDATION, MONITOR, DATA = "validation", "validation.metric", "md5.data"


@dataclass(frozen=True)
class Registered:
    """What came of registering: the version, whether it is a new one, and what became of the alias, as a sentence."""

    version: str
    is_new: bool
    champion: str


def register(bundle: Bundle, name: str, experiment: str, *, crown: bool = False) -> Registered:
    """Register a bundle as a version of the model `name`, unless one is of the same trained model already.

    The alias `champion` goes to it if it is the first, if its validation mean is better than the champion's, of the
    same data, or if `crown` says so. Raises PipelineError if the store cannot be used.
    """
    store = open_store(experiment)
    try:
        found = _find(store, name, bundle.manifest.provenance.md5["model"])
        version = found or _create(store, name, bundle)
        champion = _crown(store, name, version, crown)
    except PipelineError:
        raise
    except Exception as error:
        raise unusable(store.name, error) from error
    return Registered(str(version.version), found is None, champion)


def _find(store: Store, name: str, md5: str) -> "ModelVersion | None":
    found = store.client.search_model_versions(f"name = '{name}' and tags.`{MODEL_TAG}` = '{md5}'")
    return min(found, key=lambda each: int(each.version), default=None)


def _create(store: Store, name: str, bundle: Bundle) -> "ModelVersion":
    from mlflow.exceptions import MlflowException

    client, manifest = store.client, bundle.manifest
    md5 = manifest.provenance.md5["model"]
    trained = client.search_runs(
        [store.experiment_id],
        f"tags.`{MODEL_TAG}` = '{md5}' and tags.stage = 'train'",
        max_results=1,
        order_by=["start_time DESC"],
    )
    run = trained[0].info.run_id if trained else None
    # Not the md5 under the tag by which evaluations find the training's own entry.
    tags = {"variant": manifest.variant, "seed": str(manifest.seed), "revision": manifest.provenance.revision}
    with tempfile.TemporaryDirectory(prefix="mosaic-") as folder, _default_store(store):
        path = Path(folder) / "model"
        _save(path, bundle, _copy_files(bundle.folder, Path(folder) / "bundle"))
        model = client.create_logged_model(store.experiment_id, f"bundle-{manifest.variant}", run, tags=tags)
        try:
            client.log_model_artifacts(model.model_id, str(path))
            client.finalize_logged_model(model.model_id, "READY")
            try:
                client.create_registered_model(name, description="MOSAIC: bundles of `mosaic bundle`")
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            return client.create_model_version(
                name,
                f"models:/{model.model_id}",
                run_id=run,
                tags=tags | _of_version(manifest),
                description=f"{manifest.variant}, seed {manifest.seed}, of {len(manifest.datasets)} datasets",
                model_id=model.model_id,
            )
        except BaseException:
            client.delete_logged_model(model.model_id)
            raise


def _of_version(manifest: Manifest) -> dict[str, str]:
    """Return the tags by which a version is found, and set against another."""
    return {
        MODEL_TAG: manifest.provenance.md5["model"],
        DATA: md5_text("".join(f"{name} {md5}\n" for name, md5 in sorted(manifest.provenance.data.items()))),
        MONITOR: manifest.resolved.train.monitor,
        VALIDATION: repr(manifest.validation),
    }


def _copy_files(bundle: Path, parent: Path) -> Path:
    """Copy the files that md5sums.txt names, and that one, into a folder of the same name; return it.

    Whoever used the bundle may have left images and answers in its folder, which are nobody else's.
    """
    copy = parent / bundle.resolve().name
    copy.mkdir(parents=True)
    for name in (*read_md5s(bundle), MD5S):
        with reading(bundle / name, MEND):
            shutil.copyfile(bundle / name, copy / name)
    return copy


def _save(path: Path, bundle: Bundle, files: Path) -> None:
    """Write the folder that MLflow loads: the bundle's files as they are, and what MLflow wants to know of it."""
    import mlflow.pyfunc

    logging.getLogger("mlflow").setLevel(logging.ERROR)  # on what it would guess, were it not told
    made_with = bundle.manifest.made_with
    mlflow.pyfunc.save_model(
        str(path),
        loader_module=LOADER,
        data_path=str(files),
        signature=_signature(),
        input_example=_example(bundle),
        pip_requirements=[
            f"mlflow=={mlflow.__version__}",
            f"mosaic-pipeline=={made_with.mosaic_pipeline}",
            f"torch=={made_with.torch.partition('+')[0]}",
            f"timm=={made_with.timm}",
        ],
    )


def _signature() -> "ModelSignature":
    """Return what goes in and comes out. All may be left out as far as MLflow knows, whose refusal quotes the data."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    inputs = Schema([ColSpec(AnyType(), name, required=False) for name in ("dataset", "image")])
    outputs = Schema([ColSpec(AnyType(), name) for name in ("predicted", "classes", "probabilities")])
    return ModelSignature(inputs, outputs)


def _example(bundle: Bundle) -> Any:
    """Return a black image of the first dataset, as a table of one row."""
    import numpy as np
    import pandas as pd

    name, dataset = next(iter(bundle.datasets.items()))
    image = np.zeros(dataset.image_shape(bundle.known(name).preparation.size), int).tolist()
    return pd.DataFrame({"dataset": [name], "image": [image]})


def _crown(store: Store, name: str, version: "ModelVersion", crown: bool) -> str:
    """Move the alias where that is due, and say what became of it and why."""
    from mlflow.exceptions import MlflowException

    try:
        champion = store.client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        champion = None
    if champion and str(champion.version) == str(version.version):  # some stores count, some spell
        return f"{CHAMPION} is version {version.version}, this one"
    due, why = (True, "as was said") if crown else _is_better(version, champion)
    if not due:
        return f"{CHAMPION} stays version {champion.version}: {why}" if champion else f"no {CHAMPION}: {why}"
    store.client.set_registered_model_alias(name, CHAMPION, version.version)
    return f"{CHAMPION} is version {version.version} now{f', no more {champion.version}' if champion else ''}: {why}"


def _is_better(version: "ModelVersion", champion: "ModelVersion | None") -> tuple[bool, str]:
    if champion is None:
        return True, "the first"
    ours, theirs = (_validation(each) for each in (version, champion))
    if ours is None or theirs is None:
        which = version if ours is None else champion
        return False, f"version {which.version} has no validation mean; --champion moves it all the same"
    for tag, what in ((DATA, "on other data"), (MONITOR, "by another metric")):
        if version.tags.get(tag) != champion.tags.get(tag):
            return False, f"version {version.version} was validated {what}; --champion moves it all the same"
    said = f"validation {version.tags.get(MONITOR)} {ours:.4f}, that of version {champion.version} {theirs:.4f}"
    return ours > theirs, said


def _validation(version: "ModelVersion") -> float | None:
    try:
        return float(version.tags[VALIDATION])
    except (KeyError, ValueError):
        return None


@contextmanager
def _default_store(store: Store) -> Iterator[None]:
    """Let MLflow's default be this store, which creating a version asks, whatever client it is called by."""
    import mlflow

    before, variable = mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(store.uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
        if variable is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = variable
