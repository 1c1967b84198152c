"""A bundle as MLflow loads it: `mosaic register` logs the folder, and names this module of the installed package.

So there is neither a pickle nor a copy of code in a registered model, and two versions in one process share nothing but
this code.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE

from mosaic_pipeline.bundle.inputs import InputError
from mosaic_pipeline.bundle.load import Bundle, load_bundle
from mosaic_pipeline.explain import place_of
from mosaic_pipeline.serving.answer import predicted_of
from mosaic_pipeline.serving.images import known_dataset, read_images

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("dataset", "image")

_log = logging.getLogger("mosaic.serve")


class Answered(MlflowException):
    """An error that MLflow's server answers as it is: 400 or 500 and a sentence.

    The server would put all of the data in front of a message, and the stack trace behind that of any other exception.
    """

    @property
    def message(self) -> str:
        """The sentence that it was made with."""
        return str(self.__dict__["sentence"])

    @message.setter
    def message(self, said: str) -> None:
        self.__dict__.setdefault("sentence", said)


class ServedBundle:
    """What MLflow asks: a row for each image, with its dataset; those of one dataset are one forward pass."""

    def __init__(self, bundle: Bundle) -> None:
        """Answer with a bundle, one request at a time: several would only share the cores."""
        self._bundle = bundle
        self._one_at_a_time = threading.Lock()

    def predict(self, model_input: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """Return `predicted`, `classes` and `probabilities` of each row. Raises Answered."""
        import pandas as pd

        try:
            with self._one_at_a_time:
                rows = dict(self._rows(model_input))
        except InputError as error:
            raise Answered(str(error), INVALID_PARAMETER_VALUE) from None
        except Exception as error:
            _log.error("defect: %s%s", type(error).__name__, place_of(error))
            raise Answered("a defect of the model, which the server's log names", INTERNAL_ERROR) from None
        return pd.DataFrame([rows[number] for number in range(len(rows))], index=model_input.index)

    def _rows(self, asked: "pd.DataFrame") -> Iterator[tuple[int, dict[str, Any]]]:
        if not len(asked):
            raise InputError("no row is there, where each image is one")
        if missing := [name for name in COLUMNS if name not in asked.columns]:
            raise InputError(f"{missing[0]}: is missing; there must be columns {' and '.join(COLUMNS)}")
        names, images = (list(asked[name]) for name in COLUMNS)
        datasets = [known_dataset(name, self._bundle.datasets) for name in names]
        for dataset in {each.name: each for each in datasets}.values():
            places = [number for number, each in enumerate(datasets) if each.name == dataset.name]
            known = self._bundle.known(dataset.name)
            asked_of = {f"row {number}, image": images[number] for number in places}
            given = read_images(asked_of, dataset, known.preparation)
            answers = self._bundle.predict(given, dataset.name, batch_size=len(given))
            for number, answer in zip(places, answers, strict=True):
                said = predicted_of(self._bundle, dataset.name, answer)
                yield number, {"predicted": said, "classes": known.class_names, "probabilities": answer.tolist()}


def _load_pyfunc(path: str) -> ServedBundle:
    """Return the model of a bundle's folder; MLflow looks for this name."""
    return ServedBundle(load_bundle(path))
