"""Section: how alike the specialists' outputs are, layer by layer."""

from itertools import combinations
from typing import Any

import numpy as np
from markupsafe import Markup

from pipeline.reporting.figures.layers import Line, layer_plot
from pipeline.reporting.records import Similarity
from pipeline.reporting.results import Results
from pipeline.reporting.sentences import analysed
from pipeline.reporting.svg import SERIES
from pipeline.reporting.wording import plural


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: (variant, sentence, what was looked at, figure) for each variant with two specialists."""
    parts = []
    for index, (variant, analysis) in enumerate(results.analyses.items()):
        found = analysis.similarity
        if found and len(found.specialists) > 1 and found.layers:
            parts.append((variant, similarity_sentence(found), analysed(analysis), _figure(variant, found, index)))
    return {"parts": parts} if parts else None


def pair_values(found: Similarity) -> dict[str, np.ndarray]:
    """CKA of every pair of specialists by layer [L], nan where undefined."""
    layers = np.array(found.layers, dtype=float)
    places = list(enumerate(found.specialists))
    return {f"{one} and {other}": layers[:, i, j] for (i, one), (j, other) in combinations(places, 2)}


def similarity_sentence(found: Similarity) -> str:
    """Mean over pairs in the first and in the last layer, and where they are most and least alike."""
    mean = np.mean(list(pair_values(found).values()), axis=0)
    if not np.isfinite(mean).all():
        return "Not all similarities are defined."
    if len(mean) == 1:
        return f"Mean CKA over pairs of specialists: {mean[0]:.2f}."
    most, least = int(np.argmax(mean)), int(np.argmin(mean))
    return (
        f"Mean CKA over pairs of specialists is {mean[0]:.2f} in layer 1 and {mean[-1]:.2f} in layer {len(mean)}; they "
        f"are most alike in layer {most + 1} ({mean[most]:.2f}), least alike in layer {least + 1} ({mean[least]:.2f})."
    )


def _figure(variant: str, found: Similarity, index: int) -> Markup:
    pairs = pair_values(found)
    if len(pairs) <= len(SERIES):
        lines = {name: Line(values) for name, values in pairs.items()}
    else:
        values = np.array(list(pairs.values()))
        mean = Line(values.mean(axis=0), np.array([values.min(axis=0), values.max(axis=0)]))
        lines = {f"mean of {plural(len(pairs), 'pair')}": mean}
    title = f"Linear CKA between the specialists of {variant} by layer"
    return layer_plot(lines, name=f"similarity-{index}", label="linear CKA", title=title, top=1)
