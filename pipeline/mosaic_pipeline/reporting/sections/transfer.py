"""Section: datasets that no model was trained on, through each specialist and through the backbone alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from mosaic_pipeline.present import present
from mosaic_pipeline.reporting.comparisons import ALPHA, Difference
from mosaic_pipeline.reporting.means import CHANCE_AUC, over
from mosaic_pipeline.reporting.origin import findings_of
from mosaic_pipeline.reporting.outside import TransferFile
from mosaic_pipeline.reporting.results import METRICS, Results
from mosaic_pipeline.reporting.sentences import SAME_SCANS, TITLES
from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.ways import Choice, Way, all_ways, lifted
from mosaic_pipeline.reporting.wording import bounds, count, listing, p_value, percent, plural, range_percent, signed

SHOWN = {1: "▲ higher", -1: "▼ lower", 0: "not shown"}


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section: title, what the dataset is, sentences and table of each; None without such datasets."""
    if not results.transfers:
        return None
    ways, chosen = all_ways(results)
    parts, seen = [], []
    for name, by_training in results.transfers.items():
        file = by_training[results.main, results.seeds[0]].file
        of_dataset = {variant: ways[name, variant] for variant in results.beside_main if (name, variant) in ways}
        sentences = [
            sentence
            for variant, of_variant in of_dataset.items()
            for sentence in way_sentences(results, variant, of_variant, chosen.get((name, variant)))
        ]
        if not of_dataset:
            sentences = [no_way_sentence(results, name)]
        table = ways_table(results, name, of_dataset) if of_dataset else None
        if any(finding.kind == "trained" for finding in file.data.findings):
            seen.append(file.data.title)
        sentences = [*findings_of(file.data, by_training[results.main, results.seeds[0]].dataset), *sentences]
        parts.append((file.data.title, f"{about(results, name)}{same_scans(results, name)}", sentences, table))
    return {"parts": parts, "seen": listing(seen) if seen else ""}


def same_scans(results: Results, name: str) -> str:
    """Which datasets that models are trained on show the scans of an external one; "" if none does, or all are made."""
    source = results.transfers[name][results.main, results.seeds[0]].file.data.source
    if name not in SAME_SCANS or source == "phantom":
        return ""
    others = [results.title(each) for each in SAME_SCANS if each in results.datasets]
    return (
        f" It shows the same CT scans as {listing(others)}, on which models are trained: other images, but of the same "
        "people."
        if others
        else ""
    )


def about(results: Results, name: str) -> str:
    """What an external dataset is, where its images came from and on what terms."""
    transfer = results.transfers[name][results.main, results.seeds[0]]
    dataset, data = transfer.dataset, transfer.file.data
    sizes = [f"{count(data.splits[split].n)} {title}" for split, title in SPLITS.items()]
    classes = plural(dataset.num_classes, "label" if dataset.multi_label else "class")
    source = "official MedMNIST file" if data.official else SOURCES.get(data.source, f"from the source “{data.source}”")
    return (
        f"{dataset.dimension}D, {classes}, declared for specialist {data.specialist}; {source}, {listing(sizes)} "
        f"images at {data.size}; licence: {data.terms}." + "".join(f" {note}" for note in data.notes)
    )


SPLITS = {"train": "training", "val": "validation", "test": "test"}
SOURCES = {"phantom": "phantom data, nothing medical", "own": "own files"}


def no_way_sentence(results: Results, name: str) -> str:
    """Why no variant can take a dataset."""
    dimension = results.transfers[name][results.main, results.seeds[0]].dataset.dimension
    lacking = "a 3D tokenizer" if dimension == 3 else "statistics by which images are normalised"
    return f"No model was trained on a {dimension}D dataset, so none has {lacking}, and nothing was tested."


def label(results: Results, variant: str, way: Way, ways: Sequence[Way]) -> str:
    """What a way through a variant is called in tables and sentences."""
    head = way.head
    if head.gate:
        return "the gate's mixture"
    if head.specialist:
        known = head.specialist in results.datasets
        return f"specialist of {results.title(head.specialist)}" if known else f"specialist {head.specialist}"
    alone = backbone_alone(results, variant, ways)
    several = sum(each.backbone for each in ways) > 1
    return f"{alone} of {results.title(present(head.tokenizer))}" if several else alone


def backbone_alone(results: Results, variant: str, ways: Sequence[Way]) -> str:
    """What is taken of a variant where no specialist is: for volumes with what stands before the backbone."""
    model = results.configs[variant].model
    alone = "backbone alone" if model.frozen else "trained backbone alone"
    if ways[0].head.tokenizer is None:
        return alone
    if model.slices is not None:
        return f"{alone} and the trained pooling of slices"
    return f"{alone} behind the {'trained ' if model.tokenizer_trained else ''}3D tokenizer"


def way_sentences(results: Results, variant: str, ways: Sequence[Way], choice: Choice | None) -> list[str]:
    """Whether what a variant learned is shown to transfer to a dataset, and which specialist serves it best."""
    through = [way for way in ways if way.lift]
    if not through:
        alone, learned = backbone_alone(results, variant, ways), ""
        if not results.configs[variant].model.frozen:
            learned = ", and what was learned is in it"
        return [f"{variant} has no specialists: its {alone} is all that there is to take{learned}."]
    if len(results.seeds) == 1:
        sentences = [_seen(results, variant, through, ways)]
    else:
        sentences = [_tested(results, variant, metric, through, ways) for metric in METRICS]
    return [*sentences, _chosen(results, variant, choice, ways)] if choice else sentences


def _seen(results: Results, variant: str, through: Sequence[Way], ways: Sequence[Way]) -> str:
    """How many ways of one training ended above the backbone alone."""
    parts = []
    for metric in METRICS:
        values = [value for way in through if (value := present(way.lift)[metric].value) is not None]
        if not values:
            parts.append(f"{TITLES[metric]} is undefined")
            continue
        ends = " to ".join(dict.fromkeys(signed(pick(values)) for pick in (min, max)))
        above = sum(value > 0 for value in values)
        reference = _reference(results, variant, ways)
        parts.append(f"{above or 'none'} of {len(values)} above {reference} in {TITLES[metric]} ({ends} points)")
    own = _own(results, variant, through, ways)
    return f"{variant}, one training: {listing(parts)}{own}. Nothing is called by one training."


def _reference(results: Results, variant: str, ways: Sequence[Way]) -> str:
    """What lifts are differences to: with several tokenizers, the backbone behind the one that the specialist has."""
    several = sum(each.backbone for each in ways) > 1
    return f"the {backbone_alone(results, variant, ways)}{' of its own dataset' if several else ''}"


def _own(results: Results, variant: str, through: Sequence[Way], ways: Sequence[Way]) -> str:
    """Where the own group's specialist ended, if the routing has one."""
    own = next((way for way in through if way.own), None)
    if own is None or len(through) == 1:
        return ""
    lifts = [f"{signed(present(own.lift)[metric].value)} in {TITLES[metric]}" for metric in METRICS]
    return f"; its own one, {label(results, variant, own, ways)}, {listing(lifts)}"


def _tested(results: Results, variant: str, metric: str, through: Sequence[Way], ways: Sequence[Way]) -> str:
    """Which ways are shown to be above and below the backbone alone in one metric."""
    lifts = [(way, present(way.lift)[metric]) for way in through]
    by_sign = {
        sign: [
            f"{label(results, variant, way, ways)}{' (its own)' if way.own else ''} by {_lift(lift)}"
            for way, lift in lifts
            if lifted(lift) == sign
        ]
        for sign in (1, -1)
    }
    rest, reference = [way for way, lift in lifts if not lifted(lift)], _reference(results, variant, ways)
    parts = [f"above {reference} is shown to be {listing(by_sign[1])}"] if by_sign[1] else []
    parts += [f"below it {listing(by_sign[-1])}"] if by_sign[-1] else []
    if not parts:
        of = "the one way" if len(through) == 1 else f"none of {plural(len(through), 'way')}"
        verb = "is not shown" if len(through) == 1 else "is shown"
        return f"{variant}, {TITLES[metric]}: {of} through specialists {verb} to differ from {reference}."
    parts += [f"not told apart from it {plural(len(rest), 'way')}"] if rest else []
    return f"{variant}, {TITLES[metric]}: {'; '.join(parts)}."


def _lift(difference: Difference) -> str:
    return f"{signed(difference.value)} points (95\u00a0% CI {bounds(difference.interval)}, p {p_value(difference.p)})"


def _chosen(results: Results, variant: str, choice: Choice, ways: Sequence[Way]) -> str:
    """Which specialist validation would take, and whether the test shows that it is the best one."""
    candidates = (choice.best, *choice.others)
    best, *level = (label(results, variant, way, ways) for way in (choice.best, *choice.level))
    known, it = any(way.own for way in candidates), "it"
    if level:
        whose = f", its own one {'' if choice.best.own else 'not '}among them" if known else ""
        taken, it = f"{variant}: in validation {listing([best, *level])} tie{whose}", best
    else:
        whose = f", {'' if choice.best.own else 'not '}its own one" if known else ""
        taken = f"{variant}: validation would take {best}{whose}"
    if len({way.head.tokenizer for way in candidates}) > 1:
        taken += " (each behind its own 3D tokenizer, so that these count too)"
    if len(results.seeds) == 1:
        return f"{taken}; that {it} serves the dataset best is not called by one training."
    shown = [TITLES[metric] for metric in METRICS if choice.shown(metric)]
    rest = [TITLES[metric] for metric in METRICS if not choice.shown(metric)]
    others = "the other one" if len(choice.others) == 1 else f"each of the {len(choice.others)} others"
    if not shown:
        return f"{taken}; on the test images that {it} is better than {others} is not shown."
    but = f", not in {listing(rest)}" if rest else ""
    return f"{taken}; on the test images {it} is shown to be better than {others} in {listing(shown)}{but}."


def ways_table(results: Results, name: str, by_variant: Mapping[str, Sequence[Way]]) -> Table:
    """Rows: ways through variants, then the constant answer; columns: validation, ACC and AUC with their lift."""
    repeated = len(results.seeds) > 1
    columns = ("Test", "Lift", "p", "Called")[: 4 if repeated else 2]
    rows = []
    for variant, ways in by_variant.items():
        for way in ways:
            about = f"{label(results, variant, way, ways)}{', its own' if way.own else ''}"
            row = [Cell(variant, below=about), Cell(percent(way.score), order=way.score)]
            for metric in METRICS:
                mean = way.means[metric]
                interval = range_percent(mean.interval) if mean.interval else ""
                row.append(Cell(percent(mean.value), below=interval, order=mean.value))
                row += (_lift_cells(way.lift[metric]) if way.lift else [Cell(NONE)] * 3)[: len(columns) - 1]
            rows.append(row)
    file: TransferFile = results.transfers[name][results.main, results.seeds[0]].file
    volumes = results.transfers[name][results.main, results.seeds[0]].dataset.dimension == 3
    blank = [Cell(NONE)] * (len(columns) - 1)
    constant = [Cell(percent(value)) for value in (file.constant_acc, CHANCE_AUC)]
    rows.append([Cell("the most frequent class, always"), Cell(NONE), constant[0], *blank, constant[1], *blank])
    calls = (
        " p: over trainings and test cases (of ACC the larger one of it and of the sign test's over cases), adjusted "
        f"by Holm over all claims of this section, those of {results.main} first; called below {ALPHA}."
        if repeated
        else " One training each: none is called."
    )
    return Table(
        name=f"transfer-{name}",
        caption=f"{file.data.title}: test ACC and AUC in percent of a logistic regression on frozen class tokens, by "
        f"the way that images take, with 95\u00a0% intervals over {over(results)}. Validation: the score by which the "
        f"regression's penalty was chosen. Lift: minus the backbone alone of the same variant"
        f"{', behind the same 3D tokenizer' if volumes else ''}, in points.{calls}",
        header=["Variant and way", "Validation", *len(METRICS) * columns],
        spans=[("", 2), *((TITLES[metric], len(columns)) for metric in METRICS)],
        rows=rows,
        separator=len(rows) - 1,
        text_columns=(5, 9) if repeated else (),
        sortable=True,
    )


def _lift_cells(difference: Difference) -> list[Cell]:
    shown = lifted(difference)
    below = bounds(difference.interval) if difference.interval else ""
    return [
        Cell(signed(difference.value), bool(shown), below=below, order=difference.value),
        Cell(p_value(difference.p).removeprefix("= "), order=difference.p),
        Cell(SHOWN[shown], bool(shown)),
    ]
