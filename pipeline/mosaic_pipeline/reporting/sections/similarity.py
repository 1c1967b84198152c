"""Section: how alike the specialists' outputs are, layer by layer."""

from itertools import combinations
from typing import Any

import numpy as np
from markupsafe import Markup

from mosaic_pipeline.present import present
from mosaic_pipeline.reporting.figures.layers import Line, layer_plot
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.svg import SERIES
from mosaic_pipeline.reporting.trainings import analysed_cases, mean_of, on_average
from mosaic_pipeline.reporting.wording import plural


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: (variant, sentence, what was looked at, figure) for each variant with two specialists."""
    parts = []
    for index, (variant, analyses) in enumerate(results.analyses.items()):
        if variant not in results.on_page:
            continue
        found = analyses[0].similarity
        if found and len(found.specialists) > 1 and found.layers:
            pairs = pair_values(
                found.specialists, mean_of([present(analysis.similarity).layers for analysis in analyses])
            )
            sentence = similarity_sentence(pairs, len(analyses))
            parts.append((variant, sentence, analysed_cases(analyses), _figure(variant, pairs, index)))
    return {"parts": parts} if parts else None


def pair_values(specialists: list[str], layers: list[list[list[float]]]) -> dict[str, np.ndarray]:
    """CKA of every pair of specialists by layer [L], nan where undefined, from `layers` [L][S][S]."""
    places, values = list(enumerate(specialists)), np.array(layers)
    return {f"{one} and {other}": values[:, i, j] for (i, one), (j, other) in combinations(places, 2)}


def similarity_sentence(pairs: dict[str, np.ndarray], trainings: int) -> str:
    """Mean over pairs in the first and in the last layer, and where they are most and least alike."""
    mean, seen = np.mean(list(pairs.values()), axis=0), on_average(trainings)
    if not np.isfinite(mean).all():
        return "Not all similarities are defined."
    if len(mean) == 1:
        return f"{seen}, the mean CKA over pairs of specialists is {mean[0]:.2f}."
    most, least = int(np.argmax(mean)), int(np.argmin(mean))
    return (
        f"{seen}, the mean CKA over pairs of specialists is {mean[0]:.2f} in layer 1 and {mean[-1]:.2f} in layer "
        f"{len(mean)}; highest in layer {most + 1} ({mean[most]:.2f}), lowest in layer {least + 1} ({mean[least]:.2f})."
    )


def _figure(variant: str, pairs: dict[str, np.ndarray], index: int) -> Markup:
    if len(pairs) <= len(SERIES):
        lines = {name: Line(values) for name, values in pairs.items()}
    else:
        values = np.array(list(pairs.values()))
        mean = Line(values.mean(axis=0), np.array([values.min(axis=0), values.max(axis=0)]))
        lines = {f"mean of {plural(len(pairs), 'pair')}": mean}
    title = f"Linear CKA between the specialists of {variant} by layer"
    return layer_plot(lines, name=f"similarity-{index}", label="linear CKA", title=title, top=1)
