"""Section: each specialist's datasets, with confusion and single cases."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.datasets import DATASETS, SPECIALISTS, Dataset
from pipeline.reporting.images import png_uri
from pipeline.reporting.means import mean_over
from pipeline.reporting.results import METRICS, DatasetResult, Results, Sample
from pipeline.reporting.table import Cell, Table
from pipeline.reporting.wording import UNDEFINED, count, listing, percent, plural, with_unit

ABOUT = {"A": "colour and texture", "B": "grayscale and shape", "C": "volumes"}


@dataclass(frozen=True)
class Case:
    """One test image as shown: data URI, what it is, what the model says, and whether that is right (also in words)."""

    uri: str
    alt: str
    truth: str
    prediction: str
    right: bool
    verdict: str


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix: rows of (class, [(count, share of the row)]), the share None for a class without images."""

    caption: str
    rows: list[tuple[str, list[tuple[int, float | None]]]]


@dataclass(frozen=True)
class Card:
    """What is shown of one dataset; a multi-label dataset has a table of labels instead of a confusion matrix."""

    name: str
    title: str
    facts: str
    confusion: Confusion | None
    labels: Table | None
    cases: list[Case]


def build(results: Results) -> dict[str, Any]:
    """Content of the section: (specialist, what it is for, its sentence, its cards) for each that has datasets."""
    parts = []
    for specialist in SPECIALISTS:
        names = [name for name in results.datasets if DATASETS[name].specialist == specialist]
        if names:
            cards = [_card(results, name) for name in names]
            parts.append((specialist, ABOUT[specialist], _sentence(results, names), cards))
    return {"parts": parts, "variant": results.main, "seed": results.seeds[0]}


def _sentence(results: Results, names: list[str]) -> str:
    means = [mean_over(results, results.main, metric, tuple(names)) for metric in METRICS]
    values = [f"{metric.upper()} {with_unit(mean.value)}" for metric, mean in zip(METRICS, means, strict=True)]
    routed = dict.fromkeys(results.configs[results.main].routing.datasets[name] for name in names)
    widths = results.configs[results.main].routing.sizes
    adapters = [f"{name} (bottleneck {widths[name]})" if name else "no specialist" for name in routed]
    return f"{plural(len(names), 'dataset')}, routed to {listing(adapters)}. Mean test {' and '.join(values)}."


def _card(results: Results, name: str) -> Card:
    dataset, result = DATASETS[name], results.main_run.results[name]
    return Card(
        name=name,
        title=dataset.title,
        facts=f"{plural(result.n, 'test image')} · ACC {with_unit(result.acc)} · AUC {with_unit(result.auc)}",
        confusion=None if result.multi_label else _confusion(result),
        labels=labels_table(name, result) if result.multi_label else None,
        cases=[_case(dataset, result.data.class_names, sample) for sample in results.samples.get(name, [])],
    )


def _confusion(result: DatasetResult) -> Confusion:
    rows = []
    for label, row in zip(result.data.class_names, result.confusion, strict=True):
        total = sum(row)
        rows.append((label, [(cell, cell / total if total else None) for cell in row]))
    return Confusion("Rows: actual class; columns: predicted.", rows)


def _case(dataset: Dataset, classes: list[str], sample: Sample) -> Case:
    if dataset.multi_label:
        actual, predicted = sample.labels > 0, sample.scores > 0.5
        truth, prediction = _names(classes, actual), _names(classes, predicted)
        errors = int((actual != predicted).sum())
        right = errors == 0
        verdict = "all labels right" if right else f"{errors} of {len(classes)} labels wrong"
    else:
        best, label = int(sample.scores.argmax()), int(sample.labels[0])
        truth, prediction = classes[label], f"{classes[best]} ({with_unit(float(sample.scores[best]))})"
        right = best == label
        verdict = "right" if right else "wrong"
    kind = "test volume, its three middle slices" if dataset.dimension == 3 else "test image"
    alt = f"{dataset.title}: {kind}; actual {truth}"
    return Case(png_uri(sample.image), alt, truth, prediction, right, verdict)


def _names(classes: list[str], flags: np.ndarray) -> str:
    return ", ".join(name for name, flag in zip(classes, flags, strict=True) if flag) or "none of the labels"


def labels_table(name: str, result: DatasetResult) -> Table:
    """Per-label table of a multi-label dataset: cases, and shares of them and of the others found."""
    rows = []
    for label, matrix in zip(result.data.class_names, result.confusion, strict=True):
        (tn, fp), (fn, tp) = matrix
        found, cleared = (percent(a / (a + b)) if a + b else UNDEFINED for a, b in ((tp, fn), (tn, fp)))
        rows.append([Cell(label), Cell(count(tp + fn)), Cell(found), Cell(cleared)])
    return Table(
        name=f"labels-{name}",
        caption="By label: images that have it, and in percent how many of them (sensitivity) and of the others "
        "(specificity) are answered right at 0.5.",
        header=["Label", "Positive", "Sensitivity", "Specificity"],
        rows=rows,
    )
