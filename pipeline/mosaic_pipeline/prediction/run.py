"""Predicting every image of some places, batch by batch: what cannot be read is a row that says why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mosaic_pipeline.bundle.load import Bundle
from mosaic_pipeline.bundle.manifest import Preparation
from mosaic_pipeline.data.own.convert import convert
from mosaic_pipeline.data.own.notes import Notes
from mosaic_pipeline.data.own.picture import Picture
from mosaic_pipeline.errors import one_line
from mosaic_pipeline.prediction.decide import decide
from mosaic_pipeline.prediction.places import Place, read_place
from mosaic_pipeline.prediction.table import Key, Table, columns
from mosaic_pipeline.reading import reason


class Question(Protocol):
    """What is asked of every image of some places."""

    @property
    def array(self) -> str | None:
        """The one of an npz that is meant; None: all that hold images by their names."""
        ...

    @property
    def dimension(self) -> int:
        """Whether images (2) or volumes (3) are asked of."""
        ...

    @property
    def prepared(self) -> str:
        """How images are prepared, in words: an answer to another preparation is another answer."""
        ...

    def columns(self, bundle: Bundle) -> tuple[str, ...]:
        """Return those of the table."""
        ...

    def blank(self, bundle: Bundle) -> dict[str, str]:
        """Return the row of an image without an answer, but for its place."""
        ...

    def prepare(self, picture: Picture) -> Any:
        """Return what is answered. Raises ValueError for an image that cannot be."""
        ...

    def answer(self, bundle: Bundle, prepared: Sequence[Any]) -> list[dict[str, str]]:
        """Return what each row says beyond a blank one."""
        ...


@dataclass(frozen=True)
class Told:
    """The question of whoever says of which dataset all images are, and how they are prepared."""

    dataset: str
    preparation: Preparation
    array: str | None = None

    @property
    def dimension(self) -> int:
        """That of the dataset."""
        return self.preparation.dimension

    @property
    def prepared(self) -> str:
        """The preparation."""
        return in_words(self.preparation)

    def columns(self, bundle: Bundle) -> tuple[str, ...]:
        """Return the table's, with one for each class."""
        return columns(bundle.known(self.dataset).class_names)

    def blank(self, bundle: Bundle) -> dict[str, str]:
        """Return a row of the dataset and the model."""
        model = bundle.manifest.provenance.md5["model"]
        return dict.fromkeys(self.columns(bundle), "") | {"dataset": self.dataset, "model": model}

    def prepare(self, picture: Picture) -> NDArray[np.uint8]:
        """Return an image as those of the dataset are stored."""
        return prepare(picture, self.preparation)

    def answer(self, bundle: Bundle, prepared: Sequence[NDArray[np.uint8]]) -> list[dict[str, str]]:
        """Return class and probabilities of each image."""
        answers = bundle.predict(np.stack(prepared), self.dataset, batch_size=len(prepared))
        names = bundle.known(self.dataset).class_names
        return [
            said(bundle, self.dataset, answer)
            # Nine digits give a float32 back as it was.
            | {f"p: {name}": f"{value:.9g}" for name, value in zip(names, answer.tolist(), strict=True)}
            for answer in answers
        ]


def predict_places(
    bundle: Bundle, places: Sequence[Place], question: Question, table: Table, batch_size: int, bar: tqdm
) -> tuple[list[Key], int]:
    """Add a row to the table for every image that has none yet.

    Returns the keys of all, in the order of the places, and how many of them were there already: of the same bytes,
    prepared alike.
    """
    keys: list[Key] = []
    waiting: list[tuple[Key, str, Any]] = []
    made = 0
    for key, given, read in _images(places, question, table, keys, bar):
        made += 1
        if isinstance(read, str):
            table.add([_row(bundle, question, key, {"input": given, "error": read})])
            bar.update()
            continue
        waiting.append((key, given, read))
        if len(waiting) == batch_size:
            _answer(bundle, question, table, waiting, bar)
    _answer(bundle, question, table, waiting, bar)
    return keys, len(keys) - made


def _images(
    places: Sequence[Place], question: Question, table: Table, keys: list[Key], bar: tqdm
) -> Iterator[tuple[Key, str, Any]]:
    """Yield what is to be answered, or why it cannot be, with the md5 of what it is from.

    `keys` get all that there is, answered before or not.
    """
    for place in places:
        whole = (place.name, "")
        try:
            given = place.digest()
        except OSError as error:
            keys.append(whole)
            yield whole, "", one_line(reason(error))
            continue
        if table.answers(whole, given, question.prepared):
            keys.append(whole)
            bar.update()
            continue
        pictures = read_place(place, question.dimension, question.array)
        while True:
            try:
                item, picture = next(pictures)
            except StopIteration:
                break
            except Exception as error:
                keys.append(whole)
                yield whole, given, one_line(reason(error))
                break
            key = (place.name, item)
            keys.append(key)
            if table.answers(key, given, question.prepared):
                bar.update()
                continue
            try:
                image = question.prepare(picture)
            except Exception as error:
                yield key, given, one_line(reason(error))
            else:
                yield key, given, image


def in_words(preparation: Preparation) -> str:
    """Return what decides how an image is prepared: its size, what becomes of its sides and of its values."""
    window = preparation.window
    values = (
        "all values" if window is None else window if isinstance(window, str) else f"{window[0]:g} to {window[1]:g}"
    )
    return f"{preparation.size}, {preparation.fit}, {values}"


def prepare(picture: Picture, preparation: Preparation) -> NDArray[np.uint8]:
    """Return an image as those of its dataset are stored: [S,S], [S,S,3] or [S,S,S]. Raises ValueError if it cannot be.

    One that is of that form already stays as it is, to the bit.
    """
    converted = convert(picture, preparation, preparation.size)
    notes = Notes(preparation, preparation.size)
    notes.saw(converted)
    notes.refuse_ranges()
    return converted.image


def _answer(bundle: Bundle, question: Question, table: Table, waiting: list[tuple[Key, str, Any]], bar: tqdm) -> None:
    if not waiting:
        return
    answers = question.answer(bundle, [prepared for _, _, prepared in waiting])
    table.add(
        _row(bundle, question, key, {"input": given} | answer)
        for (key, given, _), answer in zip(waiting, answers, strict=True)
    )
    bar.update(len(waiting))
    waiting.clear()


def _row(bundle: Bundle, question: Question, key: Key, answer: dict[str, str]) -> dict[str, str]:
    file, item = key
    return question.blank(bundle) | {"file": file, "item": item, "prepared": question.prepared} | answer


def said(bundle: Bundle, dataset: str, scores: NDArray[np.float32]) -> dict[str, str]:
    """Return the answer in words: the class and its probability, of several labels those that are there."""
    multi_label = bundle.datasets[dataset].multi_label
    decided = decide(scores, bundle.known(dataset).class_names, multi_label)
    probability = {} if multi_label else {"probability": f"{scores.max():.9g}"}
    return {"predicted": "; ".join(decided)} | probability
