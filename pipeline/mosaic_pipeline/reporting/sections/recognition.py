"""Section: which dataset images are proposed to be of where nobody says it, and whether none of them is noticed."""

from collections import Counter
from statistics import fmean
from typing import Any

from mosaic_pipeline.reporting.recognised import Proposed, Recognised
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.table import NONE, Cell, Table
from mosaic_pipeline.reporting.wording import count, listing, percent, plural, with_unit


def build(results: Results) -> dict[str, Any] | None:
    """Content of the section; None where it was not tested, or no variant keeps the backbone that it is tested with."""
    found = results.recognised
    if found is None or not any(uses_backbone(results, variant) for variant in results.variants):
        return None
    return {
        "accepted": f"{100 * found.accepted:g}",
        "sentences": [*told_sentences(results, found), *unknown_sentences(results, found), *caveats(results)],
        "table": proposals_table(results, found),
    }


def uses_backbone(results: Results, variant: str) -> bool:
    """Whether a variant keeps the weights of the weights stage as they are, so that their features are at hand."""
    model = results.configs[variant].model
    return model.frozen and model.pretrained is not False


def told_sentences(results: Results, found: Recognised) -> list[str]:
    """How often the own dataset is proposed, beside what guessing would come to."""
    right = fmean(each.share(name) for name, each in found.datasets.items())
    none = fmean(each.share_none for each in found.datasets.values())
    alike = Counter(results.dataset(name).dimension for name in found.datasets)
    guessed = fmean(1 / alike[results.dataset(name).dimension] for name in found.datasets)
    return [
        f"Mean over {plural(len(found.datasets), 'dataset')}: {with_unit(right)} of the test cases are proposed to be "
        f"of their own dataset, {with_unit(none)} of none, and {with_unit(1 - right - none)} of another one. Guessing "
        f"among those of the same dimension would be right in {with_unit(guessed)}."
    ]


def unknown_sentences(results: Results, found: Recognised) -> list[str]:
    """How often cases of a dataset that is not known are noticed to be of none."""
    shares = {results.title(name): each.held_out.share_none for name, each in found.datasets.items() if each.held_out}
    sentences = []
    if shares:
        least, most = (pick(shares, key=shares.__getitem__) for pick in (min, max))
        ends = f", from {with_unit(shares[least])} ({least}) to {with_unit(shares[most])} ({most})"
        sentences.append(
            f"With their own dataset left out, {with_unit(fmean(shares.values()))} of the test cases are rightly "
            f"proposed to be of none{ends if len(shares) > 1 else ''}; all others would be taken for what they are not."
        )
    if alone := [results.title(name) for name, each in found.datasets.items() if not each.held_out]:
        verb = "is the only one of its" if len(alone) == 1 else "are each the only one of their"
        sentences.append(f"{listing(alone)} {verb} dimension, so nothing remains to be asked with it left out.")
    return sentences


def caveats(results: Results) -> list[str]:
    """What the numbers do not say, by the data and the weights that they are of."""
    sentences = []
    if any(results.origin(name).source == "phantom" for name in results.datasets):
        sentences.append(
            "Phantoms are drawn alike for all datasets, much more so than real images are: this says that it works, "
            "not how well it does on patients."
        )
    if results.main_run.training.weights.random:
        sentences.append("The backbone was never trained, so what it sees is random filters' answers.")
    return sentences


def proposals_table(results: Results, found: Recognised) -> Table:
    """Rows: datasets, then external ones; columns: what their test cases are proposed to be, and without their own."""
    rows = []
    for name in results.datasets:
        each = found.datasets[name]
        others = Proposed(proposed={key: n for key, n in each.proposed.items() if key != name}, none=0)
        cells = [
            _share(each.share(name)),
            _share(sum(others.proposed.values()) / each.n),
            _share(each.share_none),
            _most(results, others, each.n),
        ]
        held_out = each.held_out
        left_out = [_share(held_out.share_none), _most(results, held_out, each.n)] if held_out else [Cell(NONE)] * 2
        dimension = f"{results.dataset(name).dimension}D"
        rows.append([Cell(results.title(name)), Cell(dimension), Cell(count(each.n)), *cells, *left_out])
    separator = len(rows) if found.external else None
    for name, unknown in found.external.items():
        transfer = results.transfers[name][results.main, results.seeds[0]]
        rows.append(
            [
                Cell(transfer.file.data.title),
                Cell(f"{transfer.dataset.dimension}D"),
                Cell(count(unknown.n)),
                *[Cell(NONE)] * 4,
                _share(unknown.share_none),
                _most(results, unknown, unknown.n),
            ]
        )
    external = " Below the line: datasets that no model is trained on." if found.external else ""
    return Table(
        name="recognition",
        caption="Which dataset test cases are proposed to be of, in percent of the cases of each row, and the dataset "
        "for which most others are taken. Left out: with the others alone as candidates; none is the right "
        f"answer.{external}",
        header=["Dataset", "Kind", "Cases", "Its own", "Another", "None", "Taken for", "None", "Taken for"],
        spans=[("", 3), ("All known", 4), ("Left out", 2)],
        rows=rows,
        text_columns=(1, 6, 8),
        separator=separator,
        sortable=True,
    )


def _share(share: float) -> Cell:
    return Cell(percent(share), order=share)


def _most(results: Results, found: Proposed, cases: int) -> Cell:
    """Return the dataset that most cases are taken for, the first by name among several, and their share."""
    if not found.proposed:
        return Cell(NONE)
    name = min(found.proposed, key=lambda each: (-found.proposed[each], each))
    return Cell(results.title(name), below=with_unit(found.proposed[name] / cases))
