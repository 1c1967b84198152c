"""Predicting every image of some places, batch by batch: what cannot be read is a row that says why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mosaic_pipeline.bundle.load import Bundle
from mosaic_pipeline.bundle.manifest import Preparation
from mosaic_pipeline.data.own.convert import convert
from mosaic_pipeline.data.own.notes import Notes
from mosaic_pipeline.data.own.picture import Picture
from mosaic_pipeline.errors import one_line
from mosaic_pipeline.prediction.places import Place, read_place
from mosaic_pipeline.prediction.table import Key, Table, columns
from mosaic_pipeline.reading import reason

DECIDED = 0.5  # from which probability on a label is said to be there, where an image may have several


@dataclass(frozen=True)
class Question:
    """What is asked of every image: of which dataset it is, and how it is prepared; `array` is that of an npz."""

    dataset: str
    preparation: Preparation
    array: str | None = None


def predict_places(
    bundle: Bundle, places: Sequence[Place], question: Question, table: Table, batch_size: int, bar: tqdm
) -> list[Key]:
    """Add a row to the table for every image that has none yet; return the keys of all, in the order of the places."""
    keys: list[Key] = []
    waiting: list[tuple[Key, NDArray[np.uint8]]] = []
    for key, read in _images(places, question, table, keys):
        if isinstance(read, str):
            table.add([_row(bundle, question, key) | {"error": read}])
            bar.update()
            continue
        waiting.append((key, read))
        if len(waiting) == batch_size:
            _answer(bundle, question, table, waiting, bar)
    _answer(bundle, question, table, waiting, bar)
    return keys


def _images(
    places: Sequence[Place], question: Question, table: Table, keys: list[Key]
) -> Iterator[tuple[Key, NDArray[np.uint8] | str]]:
    """Yield what is to be answered, or why it cannot be; `keys` get all that there is, answered before or not."""
    for place in places:
        if (place.name, "") in table.rows:
            keys.append((place.name, ""))
            continue
        pictures = read_place(place, question.preparation.dimension, question.array)
        while True:
            try:
                item, picture = next(pictures)
            except StopIteration:
                break
            except Exception as error:
                keys.append((place.name, ""))
                yield keys[-1], one_line(reason(error))
                break
            key = (place.name, item)
            keys.append(key)
            if key in table.rows:
                continue
            try:
                image = prepare(picture, question.preparation)
            except Exception as error:
                yield key, one_line(reason(error))
            else:
                yield key, image


def prepare(picture: Picture, preparation: Preparation) -> NDArray[np.uint8]:
    """Return an image as those of its dataset are stored: [S,S], [S,S,3] or [S,S,S]. Raises ValueError if it cannot be.

    One that is of that form already stays as it is, to the bit.
    """
    converted = convert(picture, preparation, preparation.size)
    notes = Notes(preparation, preparation.size)
    notes.saw(converted)
    notes.refuse_ranges()
    return converted.image


def _answer(
    bundle: Bundle, question: Question, table: Table, waiting: list[tuple[Key, NDArray[np.uint8]]], bar: tqdm
) -> None:
    if not waiting:
        return
    images = np.stack([image for _, image in waiting])
    answers = bundle.predict(images, question.dataset, batch_size=len(images))
    keys = [key for key, _ in waiting]
    table.add(
        _row(bundle, question, key) | _said(bundle, question.dataset, answer)
        for key, answer in zip(keys, answers, strict=True)
    )
    bar.update(len(keys))
    waiting.clear()


def _row(bundle: Bundle, question: Question, key: Key) -> dict[str, str]:
    """Return the row of an image without an answer."""
    file, item = key
    blank = dict.fromkeys(columns(bundle.known(question.dataset).class_names), "")
    model = bundle.manifest.provenance.md5["model"]
    return blank | {"file": file, "item": item, "dataset": question.dataset, "model": model}


def _said(bundle: Bundle, dataset: str, scores: NDArray[np.float32]) -> dict[str, str]:
    """Return the answer in words and numbers; nine digits give a float32 back as it was."""
    names = bundle.known(dataset).class_names
    said = {f"p: {name}": f"{value:.9g}" for name, value in zip(names, scores.tolist(), strict=True)}
    if bundle.datasets[dataset].multi_label:
        there = [name for name, value in zip(names, scores, strict=True) if value >= DECIDED]
        return said | {"predicted": "; ".join(there)}
    best = int(scores.argmax())
    return said | {"predicted": names[best], "probability": f"{scores[best]:.9g}"}
