"""What a model says of images, as it is answered."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosaic_pipeline.bundle.load import Bundle
from mosaic_pipeline.prediction.decide import decide
from mosaic_pipeline.serving.images import known_dataset, read_images
from mosaic_pipeline.serving.question import Question


def answer(bundle: Bundle, question: Question) -> dict[str, Any]:
    """Return the answer to a request, as JSON has it. Raises InputError for what is the asker's fault."""
    dataset = known_dataset(question.dataset, bundle.datasets)
    preparation = bundle.known(dataset.name).preparation.model_copy(update=question.preparation)
    given = {f"images[{number}]": each for number, each in enumerate(question.images)}
    images = read_images(given, dataset, preparation)
    probabilities = bundle.predict(images, dataset.name, batch_size=len(images))
    return {
        "dataset": dataset.name,
        "classes": bundle.known(dataset.name).class_names,
        "probabilities": probabilities.tolist(),
        "predicted": [predicted_of(bundle, dataset.name, each) for each in probabilities],
        "model": bundle.manifest.provenance.md5["model"],
    }


def predicted_of(bundle: Bundle, dataset: str, probabilities: NDArray[np.float32]) -> str | list[str]:
    """Return the class of an image; where it may have several labels, those of a probability of 0.5 or more."""
    multi_label = bundle.datasets[dataset].multi_label
    decided = decide(probabilities, bundle.known(dataset).class_names, multi_label)
    return decided if multi_label else decided[0]
