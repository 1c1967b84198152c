import json
import math
from pathlib import Path

import numpy as np
import pytest

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.reporting.literature import read_published
from mosaic_pipeline.reporting.results import load_results


def _load(inputs, **changes):
    arguments = {
        "variants": inputs.variants,
        "seeds": inputs.seeds,
        "specialists": "ABC",
        "root": inputs.root,
    } | changes
    return load_results(**arguments)


@pytest.mark.parametrize(
    "path",
    [
        "configs/shared.yaml",
        "tuning/shared.json",
        "runs/shared/42/train.json",
        "runs/shared/42/history.csv",
        "evaluation/shared/42/B.json",
        "evaluation/mosaic/42/B.npz",
    ],
)
def test_a_missing_file_is_named_with_the_command_that_makes_it(inputs, path):
    (inputs.write() / path).unlink()
    with pytest.raises(PipelineError, match=f"{path}.*dvc repro") as error:
        _load(inputs)
    assert "\n" not in str(error.value)


def test_only_the_listed_variants_and_seeds_are_read(inputs):
    inputs.seeds = (1, 2)
    inputs.write()
    (inputs.root / "evaluation/shared/1/A.json").write_text("left over from another run", encoding="utf-8")
    (inputs.root / "evaluation/mosaic/2/A.json").write_text("left over from another run", encoding="utf-8")
    results = _load(inputs, variants=("mosaic",), seeds=(1,))
    assert list(results.runs) == [("mosaic", 1)]


def test_a_file_that_is_cut_short_is_named(inputs):
    path = inputs.write() / "evaluation/mosaic/42/A.json"
    path.write_text(path.read_text(encoding="utf-8")[:40], encoding="utf-8")
    with pytest.raises(PipelineError, match=r"A\.json: not valid JSON"):
        _load(inputs)


def test_a_key_that_is_missing_is_named(inputs):
    path = inputs.write() / "runs/mosaic/42/train.json"
    training = json.loads(path.read_text(encoding="utf-8"))
    del training["parameters"]["heads"]
    path.write_text(json.dumps(training), encoding="utf-8")
    with pytest.raises(PipelineError, match=r"train\.json: parameters\.heads"):
        _load(inputs)


def test_an_evaluation_without_a_configured_dataset_is_an_error(inputs):
    path = inputs.write() / "evaluation/mosaic/42/C.json"
    evaluation = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(evaluation | {"datasets": {}}), encoding="utf-8")
    with pytest.raises(PipelineError, match="adrenalmnist3d"):
        _load(inputs)


def test_an_empty_cell_of_the_history_is_undefined(inputs):
    path = inputs.write() / "runs/mosaic/42/history.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[2].split(",")
    column = lines[0].split(",").index("breastmnist/student_auc")
    lines[2] = ",".join([*cells[:column], "", *cells[column + 1 :]])
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    values = _load(inputs).main_run.history["breastmnist/student_auc"]
    assert [math.isnan(value) for value in values] == [False, True, False]


def test_a_sample_keeps_the_scores_and_labels_of_its_own_row(inputs):
    path = inputs.write() / "evaluation/mosaic/42/A.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["retinamnist/sample_index"] = np.array([7, 3, 0, 1])
    np.savez(path, **arrays)
    samples = _load(inputs).samples["retinamnist"]
    assert [int(sample.labels[0]) for sample in samples] == arrays["retinamnist/labels"][[7, 3, 0, 1], 0].tolist()
    np.testing.assert_array_equal(samples[0].scores, arrays["retinamnist/scores"][7])


def test_datasets_come_by_specialist_and_then_as_in_a_round(inputs):
    inputs.datasets = ("synapsemnist3d", "breastmnist", "dermamnist", "pathmnist")
    inputs.write()
    assert _load(inputs).datasets == ("dermamnist", "pathmnist", "breastmnist", "synapsemnist3d")


def test_a_missing_table_of_published_results_names_its_parameter(inputs):
    inputs.write()
    with pytest.raises(PipelineError, match=r"nowhere\.csv.*report\.published"):
        _load(inputs, published="nowhere.csv")


def test_another_table_is_not_taken_for_published_results(tmp_path: Path):
    path = tmp_path / "other.csv"
    path.write_text("dataset,value\npathmnist,1\n", encoding="utf-8")
    with pytest.raises(
        PipelineError,
        match=r"other\.csv: no column method, input_size, auc, acc, citation among .*; .*report\.published",
    ):
        read_published(path)
