"""The sections on why: each says what its numbers carry, and is absent without them."""

import numpy as np
import pytest

from mosaic_pipeline.evaluation.temperature import BOUNDS
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sections import branch, gain, gates, metrics, similarity
from mosaic_pipeline.reporting.table import NONE
from mosaic_pipeline.reporting.wording import MINUS

SIX = ("pathmnist", "bloodmnist", "octmnist", "organamnist", "nodulemnist3d", "vesselmnist3d")


def _load(inputs, analysed=()):
    inputs.write()
    return load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root, analysed=analysed)


def _text(sentences):
    return " ".join([sentences] if isinstance(sentences, str) else sentences).replace("\u00a0", " ").replace(MINUS, "-")


def _alone(inputs, together, alone, spread=0.0005, auc=None, seeds=(1, 2, 3)):
    """Main variant and one with a specialist for every dataset, with these accuracies (and gains in AUC) by dataset.

    Trainings of the main one are `spread` apart. So many cases differ that the sign test follows.
    """
    inputs.variants, inputs.datasets, inputs.seeds = ("mosaic", "per_dataset"), SIX, seeds
    for dataset, main, other, more in zip(SIX, together, alone, auc or np.subtract(together, alone), strict=True):
        for place, seed in enumerate(seeds):
            for variant, values, moves in (("mosaic", (main, 0.5 + more), place - 1), ("per_dataset", (other, 0.5), 0)):
                values = [value + moves * spread for value in values]
                inputs.metrics[variant, seed, dataset] = dict(zip(("acc", "auc"), values, strict=True))
    return _load(inputs)


def _rows(table):
    return {
        row[0].text: [cell.text.replace(MINUS, "-").replace("\u00a0", " ") for cell in row[1:]] for row in table.rows
    }


def test_a_gain_is_what_sharing_adds_in_points_and_relative(inputs):
    content = gain.build(_alone(inputs, [0.6, 0.5, 0.5, 0.5, 0.5, 0.45], [0.5] * 6, auc=[-0.01, 0.1, 0, 0, 0, -0.02]))
    rows = _rows(content["table"])
    assert rows["PathMNIST"] == [
        *("60.0", "50.0", "+10.0", "+20.0 %", "▲ helped"),
        *("49.0", "50.0", "-1.0", "-2.0 %", "▼ hurt"),
    ]
    assert rows["VesselMNIST3D"][2:5] == ["-5.0", "-10.0 %", "▼ hurt"]
    text = _text(content["sentences"])
    assert (
        "(per_dataset): ACC +0.8 points on average over 6 datasets (the mean of the datasets' ratios is +1.7 %) and "
        in text
    )
    assert "AUC +1.2 points on average over 6 datasets (the mean of the datasets' ratios is +2.3 %)." in text
    assert (
        "In ACC, 1 dataset is shown to be helped (PathMNIST) and 1 dataset is shown to be hurt (VesselMNIST3D); "
        "VesselMNIST3D loses most, 5.0 points (95 % CI 4.9 to 5.1, p < 0.001)."
    ) in text
    assert "In AUC, 1 dataset is shown to be helped (BloodMNIST) and 2 datasets are shown to be hurt (PathMNIST" in text


def test_where_acc_and_auc_disagree_is_said(inputs):
    # On the third they disagree within noise; on the fourth and fifth ACC is level, which is no sign.
    acc = [0.6, 0.45, 0.5001, 0.5, 0.5, 0.5]
    content = gain.build(_alone(inputs, acc, [0.5] * 6, auc=[-0.01, -0.01, -0.0001, -0.01, 0.01, 0]))
    told = "ACC and AUC differ in sign on 2 of 6 datasets, among them PathMNIST (+10.0 and -1.0 points)."
    assert told in _text(content["sentences"])


def test_where_acc_and_auc_disagree_on_one_dataset_it_is_named(inputs):
    content = gain.build(_alone(inputs, [0.6, *[0.5] * 5], [0.5] * 6, auc=[-0.01, *[0] * 5]))
    assert "differ in sign on 1 of 6 datasets: PathMNIST (+10.0 and -1.0 points)." in _text(content["sentences"])


def test_a_gain_up_to_no_more_than_the_constant_answer_is_called_so(inputs):
    # The most frequent of PathMNIST's classes makes 3 of 24 images, of BloodMNIST's too.
    content = gain.build(_alone(inputs, [0.12, 0.2, *[0.5] * 4], [0.1, 0.1, *[0.5] * 4]))
    text = _text(content["sentences"])
    assert "On PathMNIST, the ACC that sharing helps is not above that of a constant answer." in text


def test_a_loss_within_its_interval_is_not_called_hurt(inputs):
    content = gain.build(_alone(inputs, [0.45] * 6, [0.5] * 6, spread=0.3))
    for metric in ("ACC", "AUC"):
        said = f"In {metric}, no dataset is shown to be helped and no dataset is shown to be hurt; PathMNIST loses most"
        assert said in _text(content["sentences"])
    assert {row[place].text for row in content["table"].rows for place in (5, 10)} == {"within noise"}


def test_hurt_datasets_are_adjusted_for_how_many_there_are(inputs):
    # The interval just excludes 0: enough for one dataset, not for six.
    content = gain.build(_alone(inputs, [0.5 - 0.026] * 6, [0.5] * 6, spread=0.01))
    assert all("to -" in row[3].below.replace(MINUS, "-") for row in content["table"].rows)
    assert "no dataset is shown to be hurt" in _text(content["sentences"])
    assert {row[5].text for row in content["table"].rows} == {"unclear"}


def test_one_training_each_helps_and_hurts_nothing(inputs):
    content = gain.build(_alone(inputs, [0.9, 0.4, 0.5, 0.5, 0.5, 0.5], [0.5] * 6, spread=0, seeds=(42,)))
    text = _text(content["sentences"])
    assert (
        "In ACC, of these two trainings that of mosaic is higher on 1 and lower on 1 of 6 datasets (-10.0 points on "
        "BloodMNIST to +40.0 points on PathMNIST): one training each, so no dataset is called helped or hurt."
    ) in text
    assert content["table"].header == ["Dataset", *2 * ("mosaic", "per_dataset", "Gain", "Relative")]
    assert not any(cell.best or cell.below for row in content["table"].rows for cell in row)


def _analysed(inputs, parts, variant="mosaic"):
    inputs.variants, inputs.datasets = ("mosaic", "shared"), SIX
    inputs.analyses = {variant: parts}
    return _load(inputs, (variant,))


OWN = dict(zip(SIX, "AABBCC", strict=True))


def test_a_gate_is_held_against_hard_routing(inputs):
    weights = {name: [[0.8 if s == OWN[name] else 0.1 for s in "ABC"]] * 2 for name in SIX}
    weights["octmnist"] = [[0.1, 0.2, 0.7]] * 2
    found = {"specialists": ["A", "B", "C"], "weights": weights, "entropy": {name: [0.5, 0.7] for name in SIX}}
    weights["pathmnist"] = [[0.38, 0.3, 0.32]] * 2
    ((_, sentence, maps, source, figure),) = gates.build(_analysed(inputs, {"gate": found}))["parts"]
    assert (
        "In this one training, averaged over layers, most weight is given to the specialist of hard routing on 4 of 6 "
        "datasets, to another one on 1, and to none on 1 (where no specialist leads the next by 0.1 of the weight)"
    ) in sentence
    assert source == "seed 42, up to 16 validation images of each dataset"
    assert source in maps[0].caption
    assert "entropy is 0.60 nats on average, of 1.10" in sentence
    assert [cell.text for cell in dict(maps[0].rows)["OCTMNIST"]] == [".10", ".20", ".70", "0.60"]
    assert [cell.side for cell in dict(maps[1].rows)["OCTMNIST"]] == ["under", "under"]
    assert "group A (2): 0.50, 0.70" in figure


def test_similarity_and_branch_say_the_layer_that_stands_out(inputs):
    layers = [[[1, a, a], [a, 1, a], [a, a, 1]] for a in (0.9, 0.3, 0.95, 0.5)]
    ratios = {name: [0.1, 0.2, 0.6] if OWN[name] == "A" else [0.1, 0.3, 0.2] for name in SIX}
    parts = {"similarity": {"specialists": ["A", "B", "C"], "layers": layers}, "branch_ratio": ratios}
    results = _analysed(inputs, parts)
    ((_, sentence, source, figure),) = similarity.build(results)["parts"]
    assert source == "seed 42, up to 16 validation images of each dataset"
    assert (
        "In this one training, the mean CKA over pairs of specialists is 0.90 in layer 1 and 0.50 in layer 4; highest "
        "in layer 3 (0.95), lowest in layer 2"
    ) in sentence
    assert "A and C: 0.90, 0.30, 0.95, 0.50" in figure
    ((_, sentence, source, figure),) = branch.build(results)["parts"]
    assert source == "seed 42, up to 16 validation images of each dataset"
    assert "the branch measures 0.30 for group A, 0.20 for group B and 0.20 for group C" in sentence
    assert "most in layer 3 (0.33)" in sentence


def test_several_trainings_are_shown_by_their_mean(inputs):
    """By twice the value in the second seed, so that the mean is half as much again."""
    inputs.variants, inputs.datasets, inputs.seeds = ("mosaic",), SIX, (1, 2)
    inputs.analyses = {
        "mosaic": lambda seed: {
            "similarity": {
                "specialists": ["A", "B"],
                "layers": [[[1, seed * value], [seed * value, 1]] for value in (0.2, 0.4)],
            },
            "branch_ratio": {name: [seed * 0.1, seed * 0.2] for name in SIX},
            "gate": {
                "specialists": ["A", "B"],
                "weights": {name: [[seed * 0.3, 1 - seed * 0.3]] for name in SIX},
                "entropy": {name: [seed * 0.2] for name in SIX},
            },
        }
    }
    results = _load(inputs, ("mosaic",))
    looked_at = "mean over seeds 1 and 2, up to 16 validation images of each dataset"
    ((_, sentence, source, figure),) = similarity.build(results)["parts"]
    assert "On average over 2 trainings, the mean CKA over pairs of specialists is 0.30 in layer 1 and 0.60" in sentence
    assert source == looked_at
    assert "A and B: 0.30, 0.60" in figure
    ((_, sentence, source, _),) = branch.build(results)["parts"]
    assert "On average over 2 trainings, relative to the output of the MLP, the branch measures 0.23 for" in sentence
    assert source == looked_at
    ((_, sentence, maps, source, figure),) = gates.build(results)["parts"]
    assert sentence.startswith("On average over 2 trainings, averaged over layers")
    assert "entropy is 0.30 nats" in sentence
    assert looked_at in maps[0].caption
    assert [cell.text for cell in dict(maps[0].rows)["OCTMNIST"]] == [".45", ".55", "0.30"]


def test_a_gate_with_a_single_specialist_prefers_it(inputs):
    found = {"specialists": ["B"], "weights": {"octmnist": [[1.0]] * 2}, "entropy": {"octmnist": [0.0, 0.0]}}
    ((_, sentence, *_),) = gates.build(_analysed(inputs, {"gate": found}))["parts"]
    assert "given to the specialist of hard routing on 1 of 1 dataset, to another one on 0" in sentence


def test_many_specialists_are_summed_up_in_one_line(inputs):
    layers = [np.full((9, 9), 0.5).tolist()] * 2
    found = {"specialists": list("abcdefghi"), "layers": layers}
    ((_, _, _, figure),) = similarity.build(_analysed(inputs, {"similarity": found}))["parts"]
    assert "mean of 36 pairs" in figure


@pytest.mark.parametrize("section", [gain, similarity, branch, gates])
def test_a_section_without_its_data_is_absent(inputs, section):
    inputs.analyses = {"mosaic": {}}
    assert section.build(_load(inputs, ("mosaic",))) is None
    assert section.build(load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)) is None


def test_counting_neighbouring_grades_moves_the_mean_by_its_share(inputs):
    inputs.variants = ("mosaic",)
    for name, acc in zip(inputs.datasets, (0.5, 0.6, 0.7), strict=True):
        inputs.metrics["mosaic", 42, name] = {"acc": acc}
    inputs.metrics["mosaic", 42, "retinamnist"] |= {"acc_within_one": 0.8}
    text = _text(metrics.build(_load(inputs))["sentences"])
    assert "Counted so, the mean accuracy would be 70.0 % instead of 60.0 %, 10.0 points more" in text


def test_metrics_of_single_tasks_are_told_only_for_them(inputs):
    inputs.datasets = ("breastmnist", "chestmnist")
    text = _text(metrics.build(_load(inputs))["sentences"])
    assert "mean average precision over labels is 23.4 %" in text
    assert "grade" not in text


def test_calibration_stands_before_and_after_the_temperature_and_a_bound_is_named(inputs):
    inputs.variants = ("mosaic",)
    inputs.metrics["mosaic", 42, inputs.datasets[0]] = {"temperature": BOUNDS[1]}
    inputs.metrics["mosaic", 42, inputs.datasets[1]] = {"temperature": None, "ece_scaled": None}
    built = metrics.build(_load(inputs))
    rows = [[cell.text for cell in row[2:]] for row in built["tables"][1].rows]
    assert rows[0] == ["7.1", "0.400", "0.900", "3.4", "0.380", "0.800", "20.00"]
    assert rows[1] == ["7.1", "0.400", "0.900", NONE, "0.380", "0.800", NONE]
    assert rows[-1] == ["7.1", "0.400", "0.900", NONE, "0.380", "0.800", NONE]
    (sentence,) = (text for text in built["sentences"] if "temperature" in text)
    assert "The temperature of RetinaMNIST is a bound of its range, 0.05 to 20" in sentence
