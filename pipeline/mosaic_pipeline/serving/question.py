"""What a request to predict says, and what is wrong with one, in a sentence."""

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from pydantic_core import from_json

from mosaic_pipeline.bundle.inputs import InputError
from mosaic_pipeline.serving.images import LIST_OR_FILE, MOST_IMAGES

_WANTED = {
    "dataset": "must be the name of a dataset",
    "images": f"must be a list of 1 to {MOST_IMAGES} images",
    "fit": "must be pad, stretch or crop",
    "window": 'must be [low, high], low below high, or "each"',
}


class Question(BaseModel):
    """The JSON of a request: images of one dataset, each nested lists or a file in base64.

    `fit` and `window` are how files are prepared, where that is not to be as in training.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    dataset: str = Field(description="name of the dataset of the training that the images are like (GET /model)")
    images: list[str | list[Any]] = Field(min_length=1, max_length=MOST_IMAGES, description=f"each {LIST_OR_FILE}")
    fit: Literal["pad", "stretch", "crop"] | None = Field(None, description="for files that are not square")
    window: list[FiniteFloat] | Literal["each"] | None = Field(
        None, description="the values of black and white in files, or each for an image's own range"
    )

    @property
    def preparation(self) -> dict[str, Any]:
        """What is asked of the preparation of files."""
        window = tuple(self.window) if isinstance(self.window, list) else self.window
        return {key: value for key, value in (("fit", self.fit), ("window", window)) if value}


def read_question(body: bytes) -> Question:
    """Return what a body asks. Raises InputError with a sentence that quotes nothing of it."""
    try:
        tree = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise InputError("the body is no JSON (NaN and Infinity are none either)") from None
    if not isinstance(tree, dict):
        raise InputError("the body is no JSON object with dataset and images")
    try:
        question = Question.model_validate(tree)
    except ValidationError as error:
        raise InputError(_sentence(error)) from None
    window = question.window
    if isinstance(window, list) and not (len(window) == 2 and -1e30 < window[0] < window[1] < 1e30):
        raise InputError(f"window: {_WANTED['window']}")
    return question


def _sentence(error: ValidationError) -> str:
    """Return the first thing that is wrong. Its own text would quote the value."""
    problem = error.errors(include_input=False, include_url=False)[0]
    name, *inner = problem["loc"]
    if problem["type"] == "extra_forbidden":
        called = str(name) if re.fullmatch(r"[A-Za-z_]\w{0,39}", str(name), re.ASCII) else "one of the fields"
        return f"{called}: is no field of a request, which has {', '.join(Question.model_fields)}"
    if problem["type"] == "missing":
        return f"{name}: is missing"
    if name == "images" and inner:
        return f"images[{inner[0]}]: {LIST_OR_FILE}"
    return f"{name}: {_WANTED[str(name)]}"
