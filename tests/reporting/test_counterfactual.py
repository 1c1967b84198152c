"""Does the own specialist matter: what is shown, what is said of it, and how seldom by chance."""

import numpy as np
import pytest
from scipy import stats

from mosaic_pipeline.evaluation.significance import sign_test
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sections import counterfactual
from mosaic_pipeline.reporting.sections.counterfactual import directions, lead, mean_lead
from mosaic_pipeline.reporting.wording import MINUS

SIX = ("pathmnist", "bloodmnist", "octmnist", "organamnist", "nodulemnist3d", "vesselmnist3d")
OWN = dict(zip(SIX, "AABBCC", strict=True))
CASES = 16


def answers(shares, generator) -> np.ndarray:
    """Right answers [specialists, N] to cases, of which each specialist has so large a share, whichever they are."""
    return np.array([generator.permutation(CASES) < round(share * CASES) for share in shares]).astype(int)


def _load(inputs, shares: dict[str, tuple[float, ...]], seeds=(42,), specialists="ABC", later=None):
    """Analyses of `mosaic` in which the specialists answer these shares of every dataset's cases.

    `later` are other shares in all trainings but the first.
    """
    inputs.variants, inputs.datasets, inputs.seeds = ("mosaic", "shared"), SIX, seeds

    def parts(seed: int) -> dict:
        generator = np.random.default_rng(seed)
        these = shares | (later or {} if seed != seeds[0] else {})
        right = {name: answers(of_dataset, generator) for name, of_dataset in these.items()}
        return {
            "counterfactual": {
                "specialists": list(specialists),
                "own": {name: OWN[name] for name in right},
                "acc": {name: counts.mean(axis=1).tolist() for name, counts in right.items()},
                "right": {name: counts.tolist() for name, counts in right.items()},
            }
        }

    inputs.analyses = {"mosaic": parts}
    inputs.write()
    return load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root, analysed=("mosaic",))


def _part(results) -> tuple[str, dict]:
    """All that is said in the section's only part, and the cells of its map by row."""
    ((variant, sentences, heat),) = counterfactual.build(results)["parts"]
    assert variant == "mosaic"
    return " ".join(sentences).replace(MINUS, "-"), heat


EQUAL = dict.fromkeys(SIX, (0.5, 0.5, 0.5))


def test_where_trainings_draw_their_groups_each_one_s_own_specialist_counts(inputs):
    # The dataset's own specialist is A in one training and B in the others, and answers most cases each time.
    results = _load(
        inputs, EQUAL | {"pathmnist": (0.875, 0.0, 0.0)}, seeds=(1, 2, 3), later={"pathmnist": (0.0, 0.875, 0.0)}
    )
    for analysis in results.analyses["mosaic"][1:]:
        analysis.counterfactual.own["pathmnist"] = "B"
    text, heat = _part(results)
    assert "is shown to be above the others' mean on 1 (PathMNIST) of 6 datasets" in text
    assert heat.header == ["Own specialist", "Mean of the others"]
    assert [cell.text for cell in dict(heat.rows)["PathMNIST"]] == ["87.5", "0.0"]


def test_by_one_training_the_counts_are_told_and_nothing_is_called(inputs):
    shares = EQUAL | {"pathmnist": (1.0, 0.0, 0.5), "octmnist": (0.5, 0.25, 0.5), "vesselmnist3d": (0.75, 0.5, 1.0)}
    text, heat = _part(_load(inputs, shares))
    assert text == (
        "In this one training, the own specialist's accuracy is above the others' mean on 2 of 6 datasets, level on 3 "
        "and below on 1, by +14.6 points on average; one case is 6.2 points. Nothing is called by one training."
    )
    assert not any(cell.mark for _, cells in heat.rows for cell in cells)
    assert "star" not in heat.caption


def test_what_trainings_and_cases_both_show_is_named_and_starred(inputs):
    shares = EQUAL | {"pathmnist": (1.0, 0.0, 0.125), "octmnist": (0.875, 0.0, 1.0)}
    text, heat = _part(_load(inputs, shares, seeds=(1, 2, 3)))
    assert (
        "shown to be above the others' mean on 1 (PathMNIST) of 6 datasets and below it on 1 (OCTMNIST), over 3 "
        "trainings and the cases, adjusted by Holm."
    ) in text
    assert (
        "On average over datasets, it is 0.0 points from the others' mean (95 % interval over trainings and cases -"
        in text
    )
    marked = {title for title, cells in heat.rows if any(cell.mark for cell in cells)}
    assert marked == {"PathMNIST", "OCTMNIST"}
    assert all(cell.own for _, cells in heat.rows for cell in cells if cell.mark)


def test_the_map_is_the_mean_over_trainings_against_the_own_specialist(inputs):
    first, second = EQUAL | {"pathmnist": (0.5, 1.0, 0.0)}, {"pathmnist": (0.5, 0.5, 0.5)}
    _, heat = _part(_load(inputs, first, seeds=(1, 2), later=second))
    cells = dict(heat.rows)["PathMNIST"]
    assert [cell.text for cell in cells] == ["50.0", "75.0", "25.0"]
    assert [cell.side for cell in cells] == ["", "above", "under"]
    framed = {title: [cell.own for cell in row].index(True) for title, row in heat.rows}
    assert (framed["PathMNIST"], framed["VesselMNIST3D"]) == (0, 2)
    assert "mean over seeds 1 and 2, up to 16 validation images" in heat.caption


def test_of_two_specialists_the_other_one_is_no_mean(inputs):
    shares = dict.fromkeys(SIX[:4], (0.5, 0.5))
    text, _ = _part(_load(inputs, shares, specialists="AB"))
    assert "above the other one's on 0 of 4 datasets, level on 4" in text


def test_a_lead_is_counted_in_whole_labels_and_its_mean_is_the_difference_in_accuracy():
    right = np.random.default_rng(0).integers(0, 15, (2, 3, 10))  # of 14 labels
    found = lead(right, 1, 14)
    assert found.counts.dtype.kind == "i"
    acc = right.mean(axis=2) / 14
    assert found.estimate.value == pytest.approx(float((acc[:, 1] - (acc[:, 0] + acc[:, 2]) / 2).mean()))
    level = np.array([[[3], [2], [4]]])
    assert lead(level, 0, 14).counts.item() == 0


def test_a_lead_needs_cases_as_well_as_trainings():
    # A third of a single case, the same in every training: its sign over cases is no evidence.
    right = np.zeros((5, 2, CASES), dtype=int)
    right[:, 0, 0] = 1
    assert lead(right, 0).p >= sign_test(np.array([1])) == 1.0
    # And much on some cases in one training alone.
    right = np.zeros((3, 2, CASES), dtype=int)
    right[0, 0] = 1
    assert sign_test(lead(right, 0).counts.sum(axis=0)) < 0.001
    assert lead(right, 0).p > 0.1


def test_a_sign_test_that_points_the_other_way_shows_nothing():
    # Far behind on few cases, a little ahead on many: over many trainings the mean is below 0, most cases above.
    right = np.zeros((9, 5, 40), dtype=int)
    right[:, 0, :30], right[:, 1, :30] = 2, 1
    right[:, 1:, 30:] = 14
    right[:, 1:4, :30] = 2
    found = lead(right, 0, 14)
    assert found.estimate.value < 0 < np.sign(found.counts.sum(axis=0)).sum()
    assert max(found.estimate.p, sign_test(found.counts.sum(axis=0))) < 0.05
    assert found.p == 1.0


def test_all_datasets_share_the_level():
    right = np.zeros((3, 2, CASES), dtype=int)
    right[:, 0, :7] = 1
    clear = lead(right, 0)
    assert 0.01 < clear.p < 0.05
    assert directions([clear]) == [1]
    assert directions([clear, *[lead(np.zeros_like(right), 0)] * 5]) == [0] * 6


def no_difference(generator: np.random.Generator, trainings: int) -> list:
    """Leads on 18 datasets of 32 cases, of one of three specialists that do not differ but by training."""
    leads = []
    for _ in range(18):
        logits = 1 + 1.5 * generator.standard_normal(32) + 0.5 * generator.standard_normal((trainings, 3, 1))
        logits = logits + generator.standard_normal((3, 32)) + generator.standard_normal((trainings, 3, 32))
        leads.append(lead((logits > 0).astype(int), 0))
    return leads


@pytest.mark.parametrize("trainings", [1, 2, 3])
def test_where_specialists_do_not_differ_claims_are_rare_and_with_one_training_there_are_none(trainings):
    generator, repeats = np.random.default_rng(trainings), 25
    found = [no_difference(generator, trainings) for _ in range(repeats)]
    false = sum(any(directions(leads)) for leads in found)
    # More would be seen once in a thousand times of 5 %.
    assert false <= (0 if trainings == 1 else stats.binom.ppf(0.999, repeats, 0.05))
    means = [mean_lead(leads) for leads in found]
    if trainings == 1:
        assert {mean.interval for mean in means} == {None}
    else:
        outside = sum(not mean.interval[0] <= 0 <= mean.interval[1] for mean in means)
        assert outside <= stats.binom.ppf(0.999, repeats, 0.05)


def test_without_specialists_to_swap_there_is_no_section(inputs):
    inputs.analyses = {"mosaic": {}}
    inputs.write()
    results = load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root, analysed=("mosaic",))
    assert counterfactual.build(results) is None
