"""Making a bundle from what the stages left of one training."""

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from mosaic_pipeline import __version__
from mosaic_pipeline.atomic import appearing
from mosaic_pipeline.bundle.card import model_card
from mosaic_pipeline.bundle.manifest import FORMAT, Known, Manifest, Package, Preparation, Provenance, Tested
from mosaic_pipeline.bundle_files import BACKBONE, CARD, CONFIG, MODEL, RECOGNITION, REQUIREMENTS, write_md5s
from mosaic_pipeline.config import Config, config_tree, load_config
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.declared import read_about, read_source
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.layout import BACKBONE as WEIGHTS
from mosaic_pipeline.layout import RECOGNISER, config_file, evaluation_file
from mosaic_pipeline.lineage import read_lineage
from mosaic_pipeline.model.mosaic import Mosaic
from mosaic_pipeline.recognition.file import read_recogniser
from mosaic_pipeline.reporting.files import METRICS, read_contributions, read_evaluation
from mosaic_pipeline.reporting.means import model_interval
from mosaic_pipeline.reporting.records import DatasetResult
from mosaic_pipeline.tracking.revision import git_revision
from mosaic_pipeline.training.deployed import load_deployed
from mosaic_pipeline.training.model_file import read_trained


def write_bundle(variant: str, seed: int, folder: Path) -> Manifest:
    """Write the model that one training deploys, with all that using it takes, as a new folder; return its manifest.

    The same training gives the same bytes, by the same revision of the code. Raises PipelineError if something lies
    there already, and if a file of the training or of its test is missing, or not of its inputs as they are now.
    """
    if folder.exists():
        raise PipelineError(f"{folder}: is there already; remove it, or say another folder with -o")
    config = load_config(config_file(variant)).for_seed(seed)
    training = read_trained(variant, seed, config.datasets)
    model = load_deployed(config, variant, seed, training["deployed"], torch.device("cpu"))
    lineage = read_lineage(training["md5"]["config"], config.datasets, config.model.pretrained)
    manifest = Manifest(
        format=FORMAT,
        model_type="mosaic",
        made_with=Package(mosaic_pipeline=__version__, torch=version("torch"), timm=version("timm")),
        variant=variant,
        seed=seed,
        deployed=training["deployed"],
        statistics=model.statistics,
        validation=training["score"],
        datasets=_known(variant, seed, config),
        config=config_tree(config),
        provenance=Provenance(revision=git_revision(), md5=training["md5"], data=lineage.data, weights=lineage.weights),
    )
    with appearing(folder) as partial:
        partial.mkdir(parents=True)
        _write_tensors(partial, config, model)
        _write_recogniser(partial, config, model.backbone.embed_dim)
        (partial / CONFIG).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8", newline="\n")
        (partial / CARD).write_text(model_card(manifest), encoding="utf-8", newline="\n")
        (partial / REQUIREMENTS).write_text(_requirements(manifest.made_with), encoding="utf-8", newline="\n")
        write_md5s(partial)
    return manifest


def _write_tensors(folder: Path, config: Config, model: Mosaic) -> None:
    """Write what is trained, and the backbone apart unless it is trained too: by its content it is one for all."""
    _save(folder / MODEL, model.trainable_state())
    if not config.model.frozen:
        return
    if config.model.pretrained is False:
        _save(folder / BACKBONE, model.backbone.state_dict())
    else:
        shutil.copyfile(WEIGHTS, folder / BACKBONE)


def _write_recogniser(folder: Path, config: Config, width: int) -> None:
    """Write by what datasets are proposed, where `recognise` left it and the model keeps the backbone that it is of."""
    if not (RECOGNISER.is_file() and config.model.frozen and config.model.pretrained is not False):
        return
    known = read_recogniser(RECOGNISER, width, md5_file(WEIGHTS)).datasets
    if other := sorted(known ^ config.datasets.keys()):
        raise PipelineError(f"{RECOGNISER}: not of the model's datasets ({few(other)}); `dvc repro recognise` makes it")
    shutil.copyfile(RECOGNISER, folder / RECOGNITION)


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # float32, which is what is trained; frozen matrices may be held in bf16, and are random then.
    plain = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(save(plain, {"format": "pt"}))  # of which hubs ask


def _known(variant: str, seed: int, config: Config) -> dict[str, Known]:
    """Return what the evaluations say of each dataset, in the order of the configuration."""
    found: dict[str, Known] = {}
    for specialist in sorted({_specialist(name) for name in config.datasets}):
        place = (variant, seed, specialist)
        evaluation = read_evaluation(evaluation_file(*place, "json"), *place, config.datasets)
        contributions = read_contributions(evaluation_file(*place, "npz"), evaluation.datasets)
        for name, result in evaluation.datasets.items():
            found[name] = _of_dataset(config.datasets[name], result, contributions[name])
    if missing := [name for name in config.datasets if name not in found]:
        raise PipelineError(f"{missing[0]}: no test of {variant}, seed {seed}, is there; `dvc repro evaluate` makes it")
    return {name: found[name] for name in config.datasets}


def _specialist(name: str) -> str:
    return read_about(name).specialist


def _of_dataset(dataset: Dataset, result: DatasetResult, contributions: np.ndarray) -> Known:
    own = read_source(dataset.name).own
    intervals = {
        metric: None if (value := getattr(result, metric)) is None else model_interval(metric, value, cases)
        for metric, cases in zip(METRICS, contributions.T.astype(np.float64), strict=True)
    }
    return Known(
        title=result.data.title,
        specialist=result.data.specialist,
        class_names=result.data.class_names,
        licence=result.data.terms,
        source=result.data.source,
        official=result.data.official,
        preparation=Preparation(
            dimension=dataset.dimension,
            channels=dataset.channels,
            size=result.data.size,
            fit=own.fit if own else "pad",
            window=own.window if own else None,
        ),
        test=Tested(
            n=result.n, acc=result.acc, auc=result.auc, acc_interval=intervals["acc"], auc_interval=intervals["auc"]
        ),
    )


def _requirements(made_with: Package) -> str:
    return (
        "# What the bundle was made with; its probabilities are the same to rounding with others.\n"
        "# mosaic-pipeline is on no index: `pip install .` in a checkout.\n"
        f"mosaic-pipeline=={made_with.mosaic_pipeline}\n"
        f"torch=={made_with.torch.partition('+')[0]}\ntimm=={made_with.timm}\n"
    )
