"""A bundle, loaded: the very model that was trained, and its answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from mosaic_pipeline.bundle.inputs import InputError, check_images, describe_form, find_alike, find_dataset
from mosaic_pipeline.bundle.manifest import Known, Manifest, read_manifest
from mosaic_pipeline.bundle_files import BACKBONE, LOADED, MEND, MODEL, RECOGNITION, read_md5s
from mosaic_pipeline.compute import find_device
from mosaic_pipeline.config import Config
from mosaic_pipeline.data.batches import consecutive
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.evaluation.predict import score
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.model.mosaic import Mosaic, build_mosaic
from mosaic_pipeline.model.vit import VisionTransformer
from mosaic_pipeline.reading import reading
from mosaic_pipeline.recognition.file import read_recogniser
from mosaic_pipeline.recognition.recogniser import Proposal, Recogniser
from mosaic_pipeline.weights.load import read_tensors

AUTO = "auto"  # as the name of a dataset: the one that is proposed


@dataclass(frozen=True)
class Bundle:
    """A trained model with what it knows of its datasets. It answers as the evaluate stage does, to the bit."""

    folder: Path
    manifest: Manifest
    model: Mosaic
    device: torch.device
    recogniser: Recogniser | None = None

    @property
    def config(self) -> Config:
        """The resolved configuration of the training."""
        return self.manifest.resolved

    @property
    def datasets(self) -> Mapping[str, Dataset]:
        """The datasets that it was trained on, by name."""
        return self.config.datasets

    def known(self, dataset: str) -> Known:
        """Return title, class names, preparation and test of a dataset. Raises InputError if it is unknown."""
        return self.manifest.datasets[find_dataset(dataset, self.datasets).name]

    @torch.inference_mode()
    def predict(self, images: NDArray[np.uint8], dataset: str, batch_size: int = 64) -> NDArray[np.float32]:
        """Return probabilities [N, C] of images of a dataset, in the order of its classes.

        `images` are uint8 [N,S,S], [N,S,S,3] or [N,S,S,S], of any size S: they are resized as in training. Of several
        labels each has a probability of its own, else they add up to one. Raises InputError for images that cannot be
        the dataset's, and for a dataset that the model was not trained on. With `auto` as the dataset it is the one
        that all images are proposed to be of; InputError is raised if one of them is of none, or they are of several.
        """
        if dataset == AUTO and dataset not in self.datasets:
            dataset = the_one(self.propose(images, batch_size))
        form = find_dataset(dataset, self.datasets)
        given = torch.from_numpy(check_images(images, form))
        batches = (given[rows].to(self.device) for rows in consecutive(slice(0, len(given)), batch_size))
        scores = [score(self.model, batch, form, self.config) for batch in batches]
        return torch.cat(scores).cpu().numpy()

    @torch.inference_mode()
    def propose(self, images: NDArray[np.uint8], batch_size: int = 64) -> list[Proposal]:
        """Return for each image the dataset that it is proposed to be of, or none, by what the backbone sees in it.

        Images are as for `predict`; candidates are the datasets that they can be of by their shape. Raises InputError
        if there is none, or if the bundle holds nothing to compare with.
        """
        recogniser = self.can_propose()
        checked, alike = find_alike(images, self.datasets)
        given = torch.from_numpy(checked)
        proposals = []
        for rows in consecutive(slice(0, len(given)), batch_size):
            distances = recogniser.distances(self.model.backbone, given[rows].to(self.device), alike)
            proposals += recogniser.candidates[self.datasets[alike[0]].dimension].decide(distances)
        return proposals

    def can_propose(self) -> Recogniser:
        """Return what proposes datasets. Raises InputError if the bundle holds none."""
        if self.recogniser is None:
            raise InputError(
                f"dataset {AUTO!r}: this bundle cannot propose one, {RECOGNITION} is not in it (its backbone is its "
                f"own, or `recognise` had not run); it knows {few(self.datasets, 20)}"
            )
        return self.recogniser


def the_one(proposals: Sequence[Proposal]) -> str:
    """Return the dataset that all are proposed to be of. Raises InputError if one is of none, or if they differ."""
    for row, proposal in enumerate(proposals):
        if proposal.dataset is None:
            raise InputError(f"image {row}: {none_of_them(proposal)}")
    datasets = dict.fromkeys(proposal.nearest for proposal in proposals)
    if len(datasets) > 1:
        raise InputError(
            f"images are proposed to be of {few(datasets)}; ask `propose`, and predict those of each dataset apart"
        )
    return next(iter(datasets))


def none_of_them(proposal: Proposal) -> str:
    """Say why nothing is proposed, and what is nearest."""
    return (
        f"of none of the datasets: {proposal.nearest} is nearest, at a distance of {proposal.distance:.3g}, and its "
        f"own lie within {proposal.limit:.3g}"
    )


def load_bundle(folder: str | Path, device: str = "auto") -> Bundle:
    """Return the model of a bundle's folder, on `device` (`auto`, `cpu`, `cuda`, `cuda:N`, `mps`), to predict with.

    Its files are held against their md5s first. Raises PipelineError if the folder is none, if a file of it is missing
    or changed, if a later version made it, or without the device.
    """
    folder = Path(folder)
    manifest, place = read_manifest(folder), find_device(device)
    check_md5s(folder)
    config, shape = manifest.resolved, manifest.resolved.model
    sizes = (shape.backbone, shape.patch_size, shape.image_size)
    arguments = shape.backbone_args.given() if shape.backbone_args else {}
    # Without storage where tensors take its place; a backbone that was trained is among the model's own.
    backbone = build_backbone(*sizes, device="meta" if shape.frozen else "cpu", backbone_args=arguments)
    if shape.frozen:
        _fill(backbone, folder / BACKBONE)
    backbone.statistics = manifest.statistics
    model = build_mosaic(config, backbone, seed=0)
    path = folder / MODEL
    with reading(path, MEND):
        model.load_trainable_state(read_tensors(path))
    return Bundle(folder, manifest, model.to(place).eval(), place, _recogniser(folder, manifest, backbone.embed_dim))


def _recogniser(folder: Path, manifest: Manifest, width: int) -> Recogniser | None:
    path = folder / RECOGNITION
    if not path.is_file():
        return None
    recogniser = read_recogniser(path, width, manifest.provenance.md5["weights"], MEND)
    # Its matrices are held as the model's precision has them.
    return replace(recogniser, sight=replace(recogniser.sight, precision=manifest.resolved.precision))


def check_md5s(folder: Path) -> None:
    """Hold the files of a bundle that predicting reads against md5sums.txt. Raises PipelineError for the first other.

    The model card is left out: whoever shares a bundle may add to it.
    """
    listed = read_md5s(folder)
    for name in (each for each in LOADED if each in listed):
        with reading(folder / name, MEND):
            found = md5_file(folder / name)
        if found != listed[name]:
            raise PipelineError(f"{folder / name}: was changed, its md5 is {found}, not {listed[name]}; {MEND}")


def _fill(backbone: VisionTransformer, path: Path) -> None:
    try:
        backbone.load_state_dict(read_tensors(path), assign=True)
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        raise PipelineError(f"{path}: {' '.join(str(error).split())}; {MEND}") from None


def describe(bundle: Bundle) -> dict[str, Any]:
    """Return what a bundle is, for logs and servers; no path."""
    manifest = bundle.manifest
    return {
        "variant": manifest.variant,
        "seed": manifest.seed,
        "md5": manifest.provenance.md5["model"],
        "revision": manifest.provenance.revision,
        "datasets": {
            name: {
                "title": known.title,
                "classes": known.class_names,
                "dimension": known.preparation.dimension,
                "channels": known.preparation.channels,
                "size": known.preparation.size,
                "form": describe_form(bundle.datasets[name]),
                "task": bundle.datasets[name].task,
            }
            for name, known in manifest.datasets.items()
        },
    }
