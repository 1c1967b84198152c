import json

import pytest

from mosaic_pipeline.reporting.figures.rounds import dataset_curves
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sections import training


@pytest.fixture
def results(inputs):
    """Two variants, of which the first deploys each dataset from its own best round."""
    inputs.variants, inputs.seeds = ("per_dataset_own_round", "per_dataset"), (1, 2)
    inputs.write()
    for seed in inputs.seeds:
        file = inputs.root / "runs/per_dataset_own_round" / str(seed) / "train.json"
        record = json.loads(file.read_text()) | {"deployed": "composed", "best_round": None}
        record["best_rounds"] = {
            name: {"round": 1 + place, "deployed": ("student", "teacher")[place % 2], "score": 0.5}
            for place, name in enumerate(inputs.datasets)
        }
        file.write_text(json.dumps(record))
    return load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)


def test_the_table_says_where_rounds_and_models_are_each_datasets_own(results):
    rows = {row[0].text: [cell.text for cell in row] for row in training.runs_table(results).rows}
    assert rows["per_dataset_own_round, seed 1"][3:5] == ["by dataset", "by dataset"]
    assert rows["per_dataset, seed 1"][3:5] == ["3", "teacher"]


def test_a_ring_marks_a_round_that_all_datasets_are_deployed_from_and_no_other(results):
    own, joint = (figure for _, figure in training.build(results)["curves"])
    assert ">deployed<" in joint
    assert ">deployed<" not in own
    assert own.count(">student<") == own.count(">teacher<") == 1
    assert "each dataset deployed from its own best round" in own
    assert "best in round 3" in joint


def test_a_datasets_curves_are_of_the_model_that_it_is_deployed_with(results):
    history = results.main_run.history
    for name, which in zip(results.datasets, ("student", "teacher", "student"), strict=False):
        first, last = (100 * history[f"{name}/{which}_acc"][place] for place in (0, -1))
        assert f"ACC {first:.1f} in the first round, {last:.1f} in the last" in dataset_curves(results, name)
