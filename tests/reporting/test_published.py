from pathlib import Path

import pytest

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sections.published import build

HEADER = "dataset,method,input_size,auc,acc,auc_std,acc_std,citation,notes\n"


def _tables(inputs, rows: str):
    path = inputs.root / "published.csv"
    inputs.write()
    path.write_text(HEADER + rows, encoding="utf-8")
    content = build(load_results(inputs.variants, inputs.seeds, inputs.specialists, path, Path(inputs.root)))
    return {} if content is None else {table.name: table for table in content["tables"]}


def _texts(table):
    return [[cell.text for cell in row] for row in table.rows]


ROWS = (
    'RetinaMNIST,ResNet-18,28,0.717,0.524,,,"Yang et al.",\n'
    'RetinaMNIST,ViT-B,224,0.8,0.6,,,"Doerrich et al.",\n'
    'AdrenalMNIST3D,ResNet-18 + 3D,28^3,0.827,0.721,,,"Yang et al.",\n'
)


def test_published_results_stand_beside_whole_official_test_sets_of_the_same_size(inputs):
    inputs.source, inputs.official = "mirror", True
    tables = _tables(inputs, ROWS)
    assert list(tables) == ["published-2", "published-3"]
    assert tables["published-2"].header == ["Method", "RetinaMNIST"]
    assert _texts(tables["published-2"])[-1] == ["ResNet-18", "52.4 / 71.7"]
    assert tables["published-2"].notes == ["Yang et al."]
    assert tables["published-2"].rows[-1][0].note == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "phantom"},
        {"source": "mirror", "official": False},
        {"source": "mirror", "official": True, "whole_test": 400},
        {"source": "mirror", "official": True, "sizes": {2: 64, 3: 64}},
    ],
    ids=["phantom", "unofficial", "subset", "another size"],
)
def test_nothing_published_stands_beside_anything_else(inputs, changes):
    for name, value in changes.items():
        setattr(inputs, name, value)
    assert _tables(inputs, ROWS) == {}


def test_a_cell_with_a_source_of_its_own_has_its_own_note(inputs):
    inputs.source, inputs.official, inputs.datasets = "zenodo", True, ("retinamnist", "bloodmnist", "pathmnist")
    rows = (
        "RetinaMNIST,Net,28,0.7,0.5,,,Paper,single-task\n"
        "BloodMNIST,Net,28,,0.6,,,Paper,single-task\n"
        "PathMNIST,Net,28,0.9,0.8,,,Paper,another metric\n"
    )
    table = _tables(inputs, rows)["published-2"]
    assert table.notes == ["Paper (single-task)", "Paper (another metric)"]
    cells = {title: (cell.text, cell.note) for title, cell in zip(table.header, table.rows[-1], strict=True)}
    assert cells == {
        "Method": ("Net", 1),
        "RetinaMNIST": ("50.0 / 70.0", None),
        "BloodMNIST": ("60.0 / \N{EN DASH}", None),
        "PathMNIST": ("80.0 / 90.0", 2),
    }


def test_a_published_mean_needs_all_of_its_datasets_and_both_sizes(inputs):
    inputs.source, inputs.official, inputs.variants = "zenodo", True, ("mosaic",)
    inputs.sizes = {2: 28, 3: 64}
    rows = "MEAN_ALL18,MOSAIC,28 / 64^3,0.89,0.84,,,Paper,\nMEAN_ALL18,Other,28 / 28^3,0.8,0.8,,,Paper,\n"
    inputs.datasets = tuple(name for name in MEDMNIST if name != "pathmnist")
    assert _tables(inputs, rows) == {}


def test_a_published_mean_over_all_18_stands_beside_ours(inputs):
    inputs.source, inputs.official, inputs.variants = "zenodo", True, ("mosaic",)
    inputs.sizes = {2: 28, 3: 64}
    inputs.datasets = tuple(MEDMNIST)
    inputs.metrics = {("mosaic", 42, name): {"acc": 0.5, "auc": 0.25} for name in MEDMNIST}
    inputs.metrics["mosaic", 42, "pathmnist"] = {"acc": 0.5, "auc": None}
    rows = "MEAN_ALL18,MOSAIC,28 / 64^3,0.89,0.84,,,Paper,\nMEAN_ALL18,Other,28 / 28^3,0.8,0.8,,,Paper,\n"
    tables = _tables(inputs, rows)
    # Our AUC is undefined on one of them: no mean over 17 beside a mean over 18.
    assert _texts(tables["published-all"]) == [["mosaic", "50.0 / undefined"], ["MOSAIC", "84.0 / 89.0"]]
