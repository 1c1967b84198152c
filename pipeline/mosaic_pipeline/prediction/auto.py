"""Predicting images of which nobody says the dataset: each is proposed one, or none of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mosaic_pipeline.bundle.load import Bundle, none_of_them
from mosaic_pipeline.bundle.manifest import Preparation
from mosaic_pipeline.data.own.picture import Picture
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.prediction.places import Place, find_places, read_place
from mosaic_pipeline.prediction.run import in_words, prepare, said
from mosaic_pipeline.recognition.recogniser import Proposal

COLUMNS = (
    *("file", "item", "dataset", "distance", "limit"),
    *("predicted", "probability", "probabilities", "input", "prepared", "model", "error"),
)

# An image as each way of preparing one has it; a way that it cannot take is not there.
Ways = dict[Preparation, NDArray[np.uint8]]


@dataclass(frozen=True)
class Auto:
    """The question of which dataset an image is, and then what: `preparations` has each candidate's.

    An image is prepared as each candidate's are, and compared with it as such; it cannot be of one whose preparation
    it does not allow, such as a colour image of a grey dataset.
    """

    preparations: dict[str, Preparation]
    array: str | None = None
    dimension: int = field(default=2)

    @property
    def prepared(self) -> str:
        """The preparations, each once."""
        return "; ".join(dict.fromkeys(map(in_words, self.preparations.values())))

    def columns(self, bundle: Bundle) -> tuple[str, ...]:
        """Return the table's: classes differ from row to row, so probabilities stand in one, as JSON."""
        return COLUMNS

    def blank(self, bundle: Bundle) -> dict[str, str]:
        """Return a row of the model, and of no dataset."""
        return dict.fromkeys(COLUMNS, "") | {"model": bundle.manifest.provenance.md5["model"]}

    def prepare(self, picture: Picture) -> Ways:
        """Return the image in every way that it can be prepared. Raises ValueError if there is none."""
        found, refused = {}, []
        for preparation in dict.fromkeys(self.preparations.values()):
            try:
                found[preparation] = prepare(picture, preparation)
            except ValueError as error:
                refused.append(error)
        if not found:
            raise refused[0]
        return found

    def answer(self, bundle: Bundle, prepared: Sequence[Ways]) -> list[dict[str, str]]:
        """Return of each image the dataset that is proposed, its class and probabilities; of none, that as an error."""
        proposals = self.propose(bundle, prepared)
        rows = [
            {"distance": f"{proposal.distance:.6g}", "limit": f"{proposal.limit:.6g}"}
            | ({"dataset": proposal.dataset} if proposal.dataset else {"error": none_of_them(proposal)})
            for proposal in proposals
        ]
        for dataset in dict.fromkeys(proposal.dataset for proposal in proposals if proposal.dataset):
            places = [place for place, proposal in enumerate(proposals) if proposal.dataset == dataset]
            images = np.stack([prepared[place][self.preparations[dataset]] for place in places])
            names = bundle.known(dataset).class_names
            for place, scores in zip(places, bundle.predict(images, dataset, batch_size=len(images)), strict=True):
                rows[place] |= said(bundle, dataset, scores)
                values = (float(f"{value:.9g}") for value in scores.tolist())
                rows[place]["probabilities"] = json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False)
        return rows

    def propose(self, bundle: Bundle, prepared: Sequence[Ways]) -> list[Proposal]:
        """Return the proposals of images, each seen in all the ways that it can be prepared."""
        recogniser = bundle.can_propose()
        candidates = recogniser.candidates[self.dimension]
        distances = np.full((len(prepared), len(candidates.means.datasets)), np.inf)
        for preparation in dict.fromkeys(self.preparations.values()):
            places = [place for place, ways in enumerate(prepared) if preparation in ways]
            if not places:
                continue
            images = torch.from_numpy(np.stack([prepared[place][preparation] for place in places])).to(bundle.device)
            among = {name for name, each in self.preparations.items() if each == preparation}
            found = recogniser.distances(bundle.model.backbone, images, among)
            distances[places] = np.minimum(distances[places], found)
        return candidates.decide(distances)


def find_unsaid(bundle: Bundle, given: Path, array: str | None) -> tuple[int, list[Place], list[str]]:
    """Return whether a place holds images (2) or volumes (3), and what `find_places` does.

    That is what the first one that can be read is, of the dimensions that the bundle knows; images, if it could be
    both. Raises PipelineError if none can be read.
    """
    tried: list[PipelineError] = []
    places = None
    for dimension in sorted(bundle.can_propose().candidates):
        try:
            places = find_places(given, dimension)
        except PipelineError as error:
            tried.append(error)
            continue
        if any(_readable(place, dimension, array) for place in places[0]):
            return (dimension, *places)
    if places is None:
        raise tried[0]
    raise PipelineError(f"{given}: nothing in it can be read as an image that this bundle knows; name its --dataset")


def _readable(place: Place, dimension: int, array: str | None) -> bool:
    try:
        _, picture = next(read_place(place, dimension, array))
    except Exception:  # said when it is predicted
        return False
    shape = picture.values.shape
    # Three or four values at an end are colours, and an opaque channel.
    channels = len(shape) == 3 and min(shape[0], shape[-1]) <= 4
    return (2 if len(shape) == 2 or channels else 3) == dimension
