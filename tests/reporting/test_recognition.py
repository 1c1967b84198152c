"""What the report says of proposed datasets: the counts as shares, who is mistaken for whom, and what it stands on."""

import json

import pytest
from beside import write_transfer

from mosaic_pipeline.config import load_config
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.reporting.page import render_page
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sections import recognition
from mosaic_pipeline.reporting.table import NONE

HOSTILE = "<img src=x onerror=alert(1)>"
OWN = {
    "title": HOSTILE,
    "dimension": 2,
    "channels": 1,
    "task": "binary-class",
    "classes": ["no", "yes"],
    "specialist": "B",
    "licence": "mine",
    "path": "scans.npz",
    "kind": "npz",
}


def load(inputs, **how):
    return load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root, recognised=True, **how)


def told(results) -> str:
    return " ".join(recognition.build(results)["sentences"]).replace("\u00a0", " ")


def row(results, title: str) -> list[tuple[str, str]]:
    (found,) = (row for row in recognition.build(results)["table"].rows if row[0].text == title)
    return [(cell.text, cell.below) for cell in found[1:]]


def test_counts_are_shares_of_the_cases_and_the_most_frequent_mistake_is_named(inputs):
    inputs.proposed = {"retinamnist": {"retinamnist": 15, "breastmnist": 6}}  # of 24
    inputs.held_out = {"retinamnist": {"breastmnist": 18}}
    inputs.write()
    results = load(inputs)
    assert row(results, "RetinaMNIST") == [
        *(("2D", ""), ("24", "")),
        *(("62.5", ""), ("25.0", ""), ("12.5", ""), ("BreastMNIST", "25.0\u00a0%")),
        *(("25.0", ""), ("BreastMNIST", "75.0\u00a0%")),
    ]
    assert row(results, "BreastMNIST")[2:6] == [("100.0", ""), ("0.0", ""), ("0.0", ""), (NONE, "")]
    text = told(results)
    assert (
        "Mean over 3 datasets: 87.5 % of the test cases are proposed to be of their own dataset, 4.2 % of none" in text
    )
    assert "and 8.3 % of another one. Guessing among those of the same dimension would be right in 66.7 %." in text
    assert "62.5 % of the test cases are rightly proposed to be of none, from 25.0 % (RetinaMNIST)" in text
    assert "AdrenalMNIST3D is the only one of its dimension" in text


@pytest.mark.parametrize(
    ("taken", "named"),
    [({"breastmnist": 3, "chestmnist": 9}, "ChestMNIST"), ({"breastmnist": 4, "chestmnist": 4}, "BreastMNIST")],
)
def test_of_several_mistakes_the_most_frequent_is_named_and_of_equal_ones_the_first(inputs, taken, named):
    inputs.datasets = ("retinamnist", "breastmnist", "chestmnist")
    inputs.held_out = {"retinamnist": taken}
    inputs.write()
    assert row(load(inputs), "RetinaMNIST")[-1][0] == named


def test_official_data_and_trained_weights_have_no_caveat(inputs):
    inputs.source, inputs.weights = "zenodo", "hub:vit"
    inputs.write()
    assert "Phantoms" not in told(load(inputs))
    assert "never trained" not in told(load(inputs))


def test_phantoms_and_random_weights_are_caveats(inputs):
    inputs.write()
    text = told(load(inputs))
    assert "Phantoms are drawn alike" in text
    assert "The backbone was never trained" in text


def test_external_datasets_stand_below_the_line_and_none_is_right_of_them(inputs):
    inputs.write()
    write_transfer(
        inputs, "pneumoniamnist", {variant: [(None, None, False)] for variant in inputs.variants}, lambda *_: (0.5,) * 3
    )
    folder = inputs.root / "recognition/external"
    folder.mkdir()
    record = {"dataset": "pneumoniamnist", "weights": "d" * 32, "n": 8, "proposed": {"breastmnist": 2}, "none": 6}
    (folder / "pneumoniamnist.json").write_text(json.dumps(record), encoding="utf-8")
    results = load(inputs, external=["pneumoniamnist"])
    table = recognition.build(results)["table"]
    assert table.separator == 3
    assert row(results, "PneumoniaMNIST")[1] == ("8", "")
    assert row(results, "PneumoniaMNIST")[-2:] == [("75.0", ""), ("BreastMNIST", "25.0\u00a0%")]
    (folder / "pneumoniamnist.json").write_text(json.dumps(record | {"n": 9}), encoding="utf-8")
    with pytest.raises(PipelineError, match=r"pneumoniamnist.json: not of 9 cases"):
        load(inputs, external=["pneumoniamnist"])


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda tree: tree.update(weights="e" * 32), "of another backbone than the evaluation"),
        (lambda tree: tree["datasets"].pop("breastmnist"), "not of the datasets that are configured"),
        (lambda tree: tree["datasets"]["breastmnist"].update(n=25), "not of 25 cases"),
        (
            lambda tree: tree["datasets"]["breastmnist"].update(n=1, proposed={"breastmnist": 1}, held_out=None),
            "n is 1",
        ),
        (lambda tree: tree["datasets"]["breastmnist"].update(proposed={"octmnist": 24}), "of octmnist, which is not"),
        (lambda tree: tree["datasets"]["breastmnist"].update(none=-1), "none"),
    ],
)
def test_a_file_of_another_run_is_refused(inputs, edit, said):
    inputs.write()
    path = inputs.root / "recognition/test.json"
    tree = json.loads(path.read_text())
    edit(tree)
    path.write_text(json.dumps(tree))
    with pytest.raises(PipelineError, match=rf"recognition/test.json: .*{said}"):
        load(inputs)


def test_the_section_is_on_the_page_with_titles_as_text(inputs):
    inputs.datasets = ("retinamnist", "breastmnist", "mine")
    inputs.own = {"mine": OWN}
    inputs.proposed = {"retinamnist": {"mine": 24}}
    inputs.write()
    page = render_page(load(inputs), "abc123")
    assert "<h2>Which dataset is an image of? <" in page
    assert HOSTILE not in page
    assert 'id="recognition"' in page


def test_there_is_no_section_where_no_variant_keeps_the_backbone(inputs):
    inputs.write()
    assert recognition.build(load(inputs)) is not None
    for change in ({"frozen": False}, {"pretrained": False}):
        results = load(inputs)
        for variant in results.variants:
            config = load_config(inputs.root / "configs" / f"{variant}.yaml")
            results.configs[variant] = config.model_copy(update={"model": config.model.model_copy(update=change)})
        assert recognition.build(results) is None
