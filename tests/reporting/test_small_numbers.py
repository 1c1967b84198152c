"""Sentences that are written for many of something, where there is one or none of it."""

import re

import pytest
from markupsafe import Markup

from mosaic_pipeline.reporting.ablation import render_markdown
from mosaic_pipeline.reporting.latex import render_latex
from mosaic_pipeline.reporting.page import render_page, render_specialists
from mosaic_pipeline.reporting.results import load_results

# What a sentence for many says of one or of none; "1 points" of 0.1 points is not meant.
ODD = {
    "plural of one": r"(?<![\d.,:^/-])1 (?!is\b|was\b|has\b|means that\b)[a-z-]*[a-rt-z]s\b",
    "one made many": r"\b(?:these|those|of|over) 1 [a-z]+s\b|\b1 to 1\b",
    "singular of many": r"(?<![\d.,:])(?:[02-9]|\d\d+) (?:dataset|seed|round|variant|layer|comparison|candidate)\b",
    "a mean over none": r"undefined over|(?:over|of) 0(?! ?[.\d])",
    "an undefined number with a unit": r"undefined(?:\s| )(?:%|points)",
    "a number of no number": r"\bnan\b|\bNone\b|\binf\b",
    "nothing between signs": r"\(\s*\)|\s[,;](?=\s)|(?<!\.)\.\.(?!\.)|: ?\.(?=\s|$)|,\s*\.",
}
NO_SENTENCES = re.compile(r"<(style|script|svg)\b.*?</\1>", re.S)


def texts(inputs, analysed=()) -> dict[str, str]:
    """All that a reader of the report reads, by file, in single spaces."""
    inputs.write()
    results = load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root, analysed=analysed)
    pages = {"index.html": render_page(results, "abc1234")}
    pages |= {f"{name}.html": page for name, page in render_specialists(results, "abc1234").items()}
    read = {name: Markup(NO_SENTENCES.sub(" ", page)).striptags() for name, page in pages.items()}
    read |= {"ablation.md": render_markdown(results, "abc1234"), "ablation.tex": render_latex(results)}
    return {name: " ".join(text.split()) for name, text in read.items()}


def odd(text: str) -> list[str]:
    return [
        f"{what}: ...{text[max(0, match.start() - 60) : match.end() + 40]}..."
        for what, pattern in ODD.items()
        for match in re.finditer(pattern, text)
    ]


UNDEFINED_AUC = {"acc": 0.5, "auc": None}
ANALYSES = {
    "counterfactual": {
        "specialists": ["A", "B"],
        "own": {"breastmnist": "B"},
        "acc": {"breastmnist": [0.0, 1.0]},
        "auc": {"breastmnist": [0.5, None]},
        "right": {"breastmnist": [[0], [1]]},
    },
    "similarity": {"specialists": ["A", "B"], "layers": [[[1.0, 0.5], [0.5, None]]]},
    "branch_ratio": {"breastmnist": [0.1]},
    "gate": {"specialists": ["A", "B"], "weights": {"breastmnist": [[0.5, 0.5]]}, "entropy": {"breastmnist": [0.69]}},
}


@pytest.mark.parametrize("seeds", [(42,), (1, 2)], ids=["one seed", "two seeds"])
@pytest.mark.parametrize("others", [(), ("shared",), ("shared", "per_dataset")], ids=["alone", "two", "three"])
@pytest.mark.parametrize("auc", [True, False], ids=["all classes", "a class is missing"])
def test_one_of_something_is_not_many(inputs, seeds, others, auc):
    inputs.seeds, inputs.variants, inputs.datasets, inputs.rounds = seeds, ("mosaic", *others), ("breastmnist",), 1
    if not auc:
        inputs.metrics = {
            (variant, seed, "breastmnist"): UNDEFINED_AUC for variant in inputs.variants for seed in seeds
        }
    inputs.analyses, inputs.after_visits = {"mosaic": ANALYSES}, dict.fromkeys(inputs.variants, 0.1)
    inputs.tuning = {"mosaic": ([({"train.lr": 0.1}, 0.5)], 0)}
    found = {name: wrong for name, text in texts(inputs, ("mosaic",)).items() if (wrong := odd(text))}
    assert found == {}, "\n".join(line for wrong in found.values() for line in wrong)


def test_where_one_class_of_several_datasets_is_missing_no_mean_is_over_none(inputs):
    inputs.metrics = {(variant, 42, "retinamnist"): UNDEFINED_AUC for variant in inputs.variants}
    inputs.conflicts = {
        ("shared", 42): {
            "specialist": "shared",
            "datasets": list(inputs.datasets),
            "cases": 1,
            "rounds": [{"cosine": [[1.0, 0.1, None]] * 3, "halves": [0.5, None, 0.2]}],
        }
    }
    found = {name: wrong for name, text in texts(inputs).items() if (wrong := odd(text))}
    assert found == {}, "\n".join(line for wrong in found.values() for line in wrong)
