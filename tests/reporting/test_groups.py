"""The report follows whatever groups and datasets there are: those of one's own beside the 18 and A, B and C."""

import csv
import json

import numpy as np
import pytest

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.reporting.ablation import render_markdown
from mosaic_pipeline.reporting.figures.layers import Line, layer_plot
from mosaic_pipeline.reporting.latex import render_latex
from mosaic_pipeline.reporting.literature import Published
from mosaic_pipeline.reporting.means import groups, summary
from mosaic_pipeline.reporting.origin import describe_origin
from mosaic_pipeline.reporting.page import render_page, render_specialists
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.results_csv import results_csv
from mosaic_pipeline.reporting.sections import gradients, setup
from mosaic_pipeline.reporting.sections.published import published_table
from mosaic_pipeline.reporting.svg import SERIES

OWN = {"title": "Thyroid", "dimension": 2, "channels": 1, "task": "binary-class", "classes": ["benign", "malignant"]}
OWN |= {"specialist": "D", "licence": "CC0", "path": "thyroid.npz", "kind": "npz", "size": 28}
HIP = OWN | {"title": "Hip", "dimension": 3, "specialist": "D", "licence": "ours"}
NAMES = ("thyroid", "retinamnist", "breastmnist", "hip", "adrenalmnist3d")


@pytest.fixture
def results(inputs):
    """Results on five datasets, two of which are one's own and have a specialist of their own, in 2D and in 3D."""
    inputs.datasets, inputs.specialists, inputs.own = NAMES, ("A", "B", "C", "D"), {"thyroid": OWN, "hip": HIP}
    inputs.sources = {"thyroid": "own", "hip": "own"}
    inputs.variants, inputs.seeds = ("mosaic", "shared"), (1, 2)
    eye = np.eye(5).tolist()
    conflicts = {"specialist": "shared", "datasets": list(NAMES), "cases": 4}
    conflicts["rounds"] = [{"cosine": eye, "halves": [0.5] * 5}]
    inputs.conflicts = {("shared", seed): conflicts for seed in inputs.seeds}
    of_all = {name: [0.1, 0.2] for name in NAMES}
    inputs.analyses = {"mosaic": {"branch_ratio": of_all}}
    run = inputs.variants, inputs.seeds, inputs.specialists
    return load_results(*run, root=inputs.write(), analysed=("mosaic",))


def test_every_page_and_table_has_the_group_of_ones_own(results):
    assert results.groups == {
        "A": ("retinamnist",),
        "B": ("breastmnist",),
        "C": ("adrenalmnist3d",),
        "D": ("thyroid", "hip"),
    }
    assert list(groups(results)) == ["mean", "2d", "3d", "A", "B", "C", "D"]
    assert groups(results)["3d"] == ("adrenalmnist3d", "hip")
    assert {"acc_D", "auc_D"} < summary(results).keys()
    pages = render_specialists(results, "abc")
    assert list(pages) == ["A", "B", "C", "D"]
    assert "Specialist D: Thyroid and Hip" in " ".join(render_page(results, "abc").split())
    rows = {row["dataset"]: row["specialist"] for row in csv.DictReader(results_csv(results, "abc").splitlines())}
    assert (rows["thyroid"], rows["hip"]) == ("D", "D")
    assert "Thyroid" in render_markdown(results, "abc") + render_latex(results) + pages["D"]


def test_all_groups_of_images_are_set_against_each_other(results):
    (part,) = gradients.build(results)["parts"]
    told = " ".join(part[1])
    assert "A against B against D among 2D datasets" in told
    assert "Lines set A, B, C and D apart" in render_page(results, "abc")


def test_licences_of_all_data_stand_in_the_report(results):
    assert setup.licences(results) == (
        "Licences of the images: none, generated (RetinaMNIST, BreastMNIST and AdrenalMNIST3D); CC0 (Thyroid); "
        "ours (Hip)."
    )
    table = setup.data_table(results)
    column = table.header.index("Licence")
    assert {row[0].text: row[column].text for row in table.rows}["Hip"] == "ours"
    assert setup.licences(results) in render_page(results, "abc")


def test_official_files_are_under_medmnists_licences(inputs):
    inputs.source, inputs.official = "zenodo", True
    inputs.datasets = ("dermamnist", *(f"{name}mnist" for name in ("path", "blood", "retina", "breast", "oct")))
    results = load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.write())
    assert setup.licences(results) == "Licences of the images: CC BY 4.0 (5 datasets); CC BY-NC 4.0 (DermaMNIST)."


def test_the_size_of_ones_own_images_shows_no_published_result_of_other_files(inputs):
    inputs.source, inputs.official, inputs.datasets = "zenodo", True, ("retinamnist", "thyroid")
    inputs.own, inputs.specialists, inputs.sources = {"thyroid": OWN}, ("A", "B", "C", "D"), {"thyroid": "own"}
    run = inputs.variants, inputs.seeds, inputs.specialists
    results = load_results(*run, root=inputs.write())
    origin = results.main_run.results["thyroid"].data
    results.main_run.results["thyroid"] = results.main_run.results["thyroid"].model_copy(
        update={"data": origin.model_copy(update={"size": 224})}
    )
    rows = [Published("retinamnist", "theirs", size, 0.5, 0.5, "source") for size in ("28", "224")]
    object.__setattr__(results, "published", tuple(rows))
    assert [row[0].text for row in published_table(results, 2).rows] == [*results.variants, "theirs"]


def test_a_dataset_of_another_specialist_than_its_file_or_of_another_form_is_refused(inputs, results):
    file = inputs.root / "evaluation/mosaic/1/D.json"
    tree = json.loads(file.read_text())
    for change in ({"specialist": "A"}, {"form": tree["datasets"]["hip"]["data"]["form"] | {"sided": True}}):
        tree["datasets"]["hip"]["data"] |= change
        file.write_text(json.dumps(tree))
        with pytest.raises(
            PipelineError, match=r"^\S+D\.json: hip: (of specialist A|not of the form that is configured); `dvc repro"
        ):
            load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)
        tree["datasets"]["hip"]["data"]["specialist"] = "D"


def test_more_groups_than_colours_have_a_line_each():
    lines = {f"group {index}": Line(np.full(3, index / 10)) for index in range(2 * len(SERIES) + 1)}
    svg = layer_plot(lines, name="many", label="any", title="any", top=2)
    assert all(f">group {index}<" in svg for index in range(len(lines)))  # beside the end of its line


def test_what_is_true_of_medmnist_alone_is_not_said_of_own_data(inputs):
    grades = OWN | {"title": 'Grades <&%_">', "task": "ordinal-regression", "classes": ["0", "1", "2"]}
    labels = OWN | {"title": "Labels", "task": "multi-label, binary-class", "classes": ["a", "b"], "specialist": "C"}
    inputs.datasets, inputs.specialists = ("grades", "labels", "hip"), ("C", "D")
    inputs.own, inputs.sources = {"grades": grades, "labels": labels, "hip": HIP}, dict.fromkeys(inputs.datasets, "own")
    inputs.variants = ("mosaic", "shared")
    results = load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.write())
    pages = render_specialists(results, "abc")
    page = " ".join(render_page(results, "abc").split())
    everything = page + pages["C"] + pages["D"] + render_markdown(results, "abc")
    assert "Grades &lt;&amp;%_&#34;&gt; has ordered grades" in page
    assert "The released code of MOSAIC counts" not in everything
    assert "ChestMNIST" not in everything
    assert "RetinaMNIST" not in everything
    assert page.count("For Labels all are") == 2
    assert "rare labels" not in page
    assert "Labels has several labels: mean average precision over labels" in page
    assert page.count("Beside them here: D for Grades &lt;&amp;%_&#34;&gt; and Hip.") == 1
    assert "Volumes are shown" not in pages["C"]
    assert pages["D"].count("Volumes are shown") == 1
    assert "<&%_" not in everything


def test_a_shared_specialist_of_another_width_than_all_together_is_named(results):
    wide = sum(results.sizes("mosaic").values())
    (shared,) = results.sizes("shared").values()
    assert wide != shared
    assert setup.widths(results) == [
        f"The bottlenecks of shared are {shared} wide, those of mosaic {wide} together: the two differ in size, not in "
        "routing alone."
    ]
    assert setup.widths(results)[0] in " ".join(render_page(results, "abc").split())


def test_phantoms_beside_own_data_are_not_said_to_be_all(results):
    origin = describe_origin(results)
    assert (origin.label, origin.brief) == ("Phantom data and own data", "the former: generated, nothing medical")
