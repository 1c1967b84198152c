"""What a specialist's page shows of each dataset: curves, confusion, and single cases."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.reporting.figures.reliability import noun, reliability_diagram
from mosaic_pipeline.reporting.figures.roc import roc_curve
from mosaic_pipeline.reporting.figures.rounds import dataset_curves
from mosaic_pipeline.reporting.images import png_uri
from mosaic_pipeline.reporting.means import model_interval
from mosaic_pipeline.reporting.origin import describe_findings, describe_origin
from mosaic_pipeline.reporting.records import DataOrigin, DatasetResult
from mosaic_pipeline.reporting.rendering import Origin
from mosaic_pipeline.reporting.results import METRICS, Results, Sample
from mosaic_pipeline.reporting.table import Cell, Table
from mosaic_pipeline.reporting.wording import UNDEFINED, count, percent, plural, range_percent, with_unit


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
    """What is shown of one dataset; a multi-label dataset has a table of labels instead of a confusion matrix.

    `origin` says what its images are, `findings` what is odd about them, `notes` how one's own were read; `figures`
    are (caption, figure); `hardest` have the highest loss, `cases` were picked by their class alone, and `shown` says
    of how many classes they are.
    """

    name: str
    title: str
    facts: str
    volumes: bool
    origin: Origin
    findings: list[str]
    notes: list[str]
    figures: list[tuple[str, Markup]]
    confusion: Confusion | None
    labels: Table | None
    hardest: list[Case]
    cases: list[Case]
    shown: str


def build_card(results: Results, name: str) -> Card:
    """Everything about one dataset under the main variant's first seed."""
    dataset, result = results.dataset(name), results.main_run.results[name]
    validation = result.data.splits["val"].n
    figures = [
        (f"Validation, {plural(validation, 'image')}: ACC solid, AUC dashed.", dataset_curves(results, name)),
        (
            "ROC, mean over classes; dashed: chance.",
            roc_curve(name, result.data.title, *results.roc.get(name, ([], [])), result.auc),
        ),
        (
            f"Accuracy by confidence; dashed: perfectly calibrated. Larger points hold more {noun(result)}.",
            reliability_diagram(name, result),
        ),
    ]
    cases = _cases(dataset, result.data, "case", results.samples.get(name, []))
    return Card(
        name=name,
        title=result.data.title,
        facts=_facts(results, name),
        volumes=dataset.dimension == 3,
        origin=describe_origin(results, (name,)),
        findings=describe_findings(results, name),
        notes=result.data.notes,
        figures=[(caption, figure) for caption, figure in figures if figure is not None],
        confusion=None if result.multi_label else _confusion(result),
        labels=labels_table(name, result) if result.multi_label else None,
        hardest=_cases(dataset, result.data, "hardest case", results.hardest.get(name, [])),
        cases=cases,
        shown=_shown(result, cases),
    )


def _facts(results: Results, name: str) -> str:
    result, facts = results.main_run.results[name], []
    for metric, cases in zip(METRICS, results.main_run.contributions[name].T.astype(np.float64), strict=True):
        value = getattr(result, metric)
        interval = model_interval(metric, value, cases) if value is not None else None
        bounds = f" ({range_percent(interval)})" if interval else ""
        facts.append(f"{metric.upper()} {with_unit(value)}{bounds}")
    further = (("F1", result.macro_f1), ("ECE", result.ece))
    facts += [f"{title} {with_unit(value)}" for title, value in further if value is not None]
    return " · ".join([plural(result.n, "test image"), *facts])


def _shown(result: DatasetResult, cases: list[Case]) -> str:
    """How many classes the cases are of, where not all of them are; a multi-label case is of several."""
    classes, shown = len(result.data.class_names), len({case.truth for case in cases})
    return "" if result.multi_label or shown >= classes else f" ({shown} of {classes} classes)"


def _confusion(result: DatasetResult) -> Confusion:
    rows = []
    for label, row in zip(result.data.class_names, result.by_class, strict=True):
        total = sum(row)
        rows.append((label, [(cell, cell / total if total else None) for cell in row]))
    return Confusion("Rows: actual class; columns: predicted.", rows)


def _cases(dataset: Dataset, origin: DataOrigin, what: str, samples: list[Sample]) -> list[Case]:
    kind = "test volume, three middle slices" if dataset.dimension == 3 else "test image"
    if origin.source == "phantom":
        kind = f"phantom {kind}"
    return [
        _case(dataset, origin.class_names, sample, f"{origin.title}, {what} {number}: {kind}")
        for number, sample in enumerate(samples, 1)
    ]


def _case(dataset: Dataset, classes: list[str], sample: Sample, described: str) -> Case:
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
    return Case(png_uri(sample.image), f"{described}; actual {truth}", truth, prediction, right, verdict)


def _names(classes: list[str], flags: np.ndarray) -> str:
    return ", ".join(name for name, flag in zip(classes, flags, strict=True) if flag) or "none of the labels"


def labels_table(name: str, result: DatasetResult) -> Table:
    """Per-label table of a multi-label dataset: cases, and shares of them and of the others found."""
    rows = []
    for label, matrix in zip(result.data.class_names, result.by_label, strict=True):
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
