"""Do the groups follow the conflicts: what is shown, what is said of it, and how seldom by chance."""

import numpy as np
import pytest
from scipy import stats

from mosaic_pipeline.datasets import MEDMNIST, MOSAIC_ROUTING
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sections import gradients
from mosaic_pipeline.reporting.sections.gradients import GROUPS, directions, partitions
from mosaic_pipeline.reporting.wording import MINUS

NAMES = list(MEDMNIST)
FLAT = "A against B among 2D datasets"
SIX = ("pathmnist", "bloodmnist", "octmnist", "organamnist", "nodulemnist3d", "vesselmnist3d")


def cosines(names, inside, outside, noise=0.0, seed=1) -> np.ndarray:
    """Symmetric cosines [D, D]: `inside` within groups and `outside` between them, but for noise."""
    groups = [MOSAIC_ROUTING[name] for name in names]
    drawn = noise * np.random.default_rng(seed).standard_normal((len(names), len(names)))
    return np.where(np.equal.outer(groups, groups), inside, outside) + drawn + drawn.T


def asked_of(names, by_training) -> dict[str, gradients.Partition]:
    """What is asked of the cosines of these datasets, in the groups and dimensions that MOSAIC has for them."""
    groups, dimensions = [MOSAIC_ROUTING[name] for name in names], [MEDMNIST[name].dimension for name in names]
    return partitions(groups, dimensions, by_training)


def told(names, by_training) -> dict[str, str]:
    """The sentence of each question, asked of these cosines by training."""
    asked = asked_of(names, by_training)
    found = directions(list(asked.values()))
    return {
        what: gradients.partition_sentence(what, partition, *each).replace(MINUS, "-")
        for (what, partition), each in zip(asked.items(), found, strict=True)
    }


def test_groups_that_pull_alike_in_every_training_are_said_to():
    sentences = told(NAMES, [cosines(NAMES, 0.3, 0.1, 0.03, seed) for seed in (1, 2)])
    assert list(sentences) == [GROUPS, FLAT]
    assert "more alike than datasets of different groups in each of 2 trainings: mean cosine " in sentences[GROUPS]
    assert sentences[GROUPS].endswith("The partition follows the conflicts.")
    assert sentences[FLAT].endswith("The division of 2D datasets into A and B follows the conflicts.")


def test_groups_that_pull_less_alike_are_said_to():
    sentences = told(NAMES, [cosines(NAMES, 0.1, 0.3, 0.03, seed) for seed in (1, 2)])
    assert "less alike" in sentences[GROUPS]
    assert "sets together datasets that conflict more than others" in sentences[FLAT]


def test_volumes_apart_from_images_say_nothing_of_a_against_b():
    volume = np.array([MEDMNIST[name].dimension == 3 for name in NAMES])
    apart = np.where(np.equal.outer(volume, volume), 0.3, 0.0)
    sentences = told(NAMES, [apart + cosines(NAMES, 0, 0, 0.03, seed) for seed in (3, 4)])
    assert "The partition follows the conflicts." in sentences[GROUPS]
    assert "follows" not in sentences[FLAT]


@pytest.mark.parametrize(("inside", "outside"), [(0.3, 0.1), (0.1, 0.3)])
def test_by_one_training_nothing_is_called_however_clear(inside, outside):
    for sentence in told(NAMES, [cosines(NAMES, inside, outside)]).values():
        assert sentence.endswith("between groups; one training, by which neither is called higher.")


def test_trainings_that_disagree_show_nothing_however_clear_their_mean():
    by_training = [cosines(NAMES, 0.9, 0.1), cosines(NAMES, 0.19, 0.2)]
    assert asked_of(NAMES, by_training)[GROUPS].p < 0.001
    sentence = told(NAMES, by_training)[GROUPS]
    assert "Trainings disagree on which is higher (by +0.800 and -0.010), so neither is shown to be." in sentence


def test_what_groups_at_random_would_do_as_well_is_not_shown():
    # Clear, but of 15 partitions of six datasets into three pairs this is one.
    by_training = [cosines(SIX, 0.3, 0.1)] * 3
    assert asked_of(SIX, by_training)[GROUPS].p == pytest.approx(1 / 15, abs=0.02)
    assert "That they differ by more than chance is not shown (permutation p" in told(SIX, by_training)[GROUPS]


def test_two_questions_share_the_level():
    by_training = [cosines(NAMES, 0.13, 0.1, 0.08, seed) for seed in (5, 6)]
    asked = list(asked_of(NAMES, by_training).values())
    adjusted = [p for _, p in directions(asked)]
    assert sorted(adjusted)[0] == pytest.approx(2 * min(each.p for each in asked))


def test_a_and_b_are_compared_among_images_alone_and_once():
    images = [name for name in NAMES if MEDMNIST[name].dimension == 2]
    assert list(asked_of(images, [cosines(images, 0.3, 0.1)])) == [GROUPS]
    changed = cosines(NAMES, 0.3, 0.1)
    volume = np.array([MEDMNIST[name].dimension == 3 for name in NAMES])
    changed[volume] = changed[:, volume] = -0.7
    before, after = (asked_of(NAMES, [each])[FLAT] for each in (cosines(NAMES, 0.3, 0.1), changed))
    assert np.array_equal(before.mean, after.mean)
    assert before.gaps == pytest.approx([0.2])


def test_without_pairs_nothing_is_compared():
    names = ["pathmnist", "octmnist", "nodulemnist3d"]
    by_training = [cosines(names, 0.3, 0.1)] * 2
    assert [direction for direction, _ in directions(list(asked_of(names, by_training).values()))] == [0, 0]
    assert all("so nothing is compared" in sentence for sentence in told(names, by_training).values())


def test_an_undefined_cosine_counts_in_no_mean():
    holed = cosines(NAMES, 0.3, 0.1)
    holed[0, 2] = holed[2, 0] = np.nan
    assert asked_of(NAMES, [holed])[GROUPS].gaps == pytest.approx([0.2])


def random_cosines(generator: np.random.Generator, trainings: int, common: float) -> list[np.ndarray]:
    """Cosines of gradients that know no groups: in part the same in every training, as those of like datasets are."""
    shared = generator.standard_normal((18, 40))
    vectors = common * shared + generator.standard_normal((trainings, 18, 40))
    units = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    return list(units @ units.transpose(0, 2, 1))


@pytest.mark.parametrize("trainings", [1, 2, 3])
def test_where_groups_mean_nothing_claims_are_rare_and_with_one_training_there_are_none(trainings, monkeypatch):
    monkeypatch.setattr(gradients, "PERMUTATIONS", 199)  # as valid, and faster
    generator, repeats = np.random.default_rng(trainings), 200
    found = [
        directions(list(asked_of(NAMES, random_cosines(generator, trainings, 2.0)).values())) for _ in range(repeats)
    ]
    false = sum(any(direction for direction, _ in each) for each in found)
    # More would be seen once in a thousand times of 5 %.
    assert false <= (0 if trainings == 1 else stats.binom.ppf(0.999, repeats, 0.05))


def _found(names, by_round, halves=None) -> dict:
    halves = [0.5] * len(names) if halves is None else halves
    rounds = [{"cosine": np.array(each).tolist(), "halves": halves} for each in by_round]
    return {"specialist": "shared", "datasets": list(names), "cases": 32, "rounds": rounds}


def _parts(inputs, by_seed: dict[int, dict]):
    inputs.variants, inputs.datasets, inputs.seeds = ("mosaic", "shared"), SIX, tuple(by_seed)
    inputs.conflicts = {("shared", seed): found for seed, found in by_seed.items()}
    inputs.write()
    ((variant, sentences, groups, heat),) = gradients.build(
        load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)
    )["parts"]
    assert variant == "shared"
    return [sentence.replace(MINUS, "-") for sentence in sentences], groups, heat


def test_means_are_over_rounds_then_over_trainings_and_shown_by_group(inputs):
    # A training of one round counts as much as one of three.
    first = _found(SIX, [cosines(SIX, 0.2, 0.1), cosines(SIX, 0.4, 0.1), cosines(SIX, 0.6, 0.1)])
    second = _found(SIX, [cosines(SIX, 0.0, 0.1)])
    sentences, groups, heat = _parts(inputs, {1: first, 2: second})
    assert sentences[0].startswith("All groups: mean cosine 0.200 within a group and 0.100 between groups.")
    assert "(by +0.300 and -0.100)" in sentences[0]
    assert "after round 1 and after the last one (1 to 3): +0.000 and +0.200 (All groups)" in sentences[2]
    assert [cell.text for cell in groups.rows[0]] == ["Group A", "0.200", "0.100", "0.100"]
    assert heat.rules == heat.column_rules == (2, 4)
    assert "shared, seeds 1 and 2: cosine" in heat.caption
    assert "32 training images of each at most, mean over rounds and trainings" in heat.caption


def test_gradients_are_shown_by_group_whatever_their_order_in_the_file(inputs):
    names = list(reversed(SIX))
    cosine = [[1.0 if a == b else 0.5 if {a, b} == {"pathmnist", "octmnist"} else 0.0 for b in names] for a in names]
    _, _, heat = _parts(inputs, {42: _found(names, [cosine], [0.9, 0.1, 0.1, 0.1, 0.1, 0.2])})
    assert heat.header[0] == "PathMNIST"
    rows = {
        title: {head: cell.text for head, cell in zip(heat.header, cells, strict=True)} for title, cells in heat.rows
    }
    assert rows["PathMNIST"]["OCTMNIST"] == rows["OCTMNIST"]["PathMNIST"] == ".50"
    assert rows["PathMNIST"]["BloodMNIST"] == ".00"
    assert rows["VesselMNIST3D"]["VesselMNIST3D"] == ".90"
    framed = [[head for head, cell in zip(heat.header, cells, strict=True) if cell.own] for _, cells in heat.rows]
    assert framed == [[title] for title, _ in heat.rows]
    assert "shared, seed 42: cosine" in heat.caption


def test_a_single_round_is_told(inputs):
    sentences, *_ = _parts(inputs, {42: _found(SIX, [cosines(SIX, 0.3, 0.1)])})
    assert sentences[2] == "There was one round to measure after."


def test_the_noise_of_gradients_is_told_by_halves_of_one_dataset():
    sentence = gradients.noise_sentence([0.5, 1.0, -0.3])
    assert f"a mean cosine of 0.400 ({MINUS}0.300 to 1.000, framed in the map)" in sentence
    assert f"about {(2 / 3 + 1 + 0) / 3:.3f} here" in sentence
    assert "unknown" in gradients.noise_sentence([float("nan")] * 3)


def test_variants_share_the_level_too(inputs):
    inputs.variants, inputs.datasets, inputs.seeds = ("mosaic", "shared", "linear_probe"), SIX, (1, 2)
    found = _found(SIX, [cosines(SIX, 0.3, 0.1)])
    inputs.conflicts = {(variant, seed): found for variant in ("mosaic", "shared") for seed in (1, 2)}
    inputs.write()
    parts = gradients.build(load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root))["parts"]
    alone = asked_of(SIX, [cosines(SIX, 0.3, 0.1)])
    tests = 2 * len(alone)
    assert [variant for variant, *_ in parts] == ["mosaic", "shared"]
    for _, sentences, *_ in parts:
        assert f"permutation p = {min(1, tests * alone[GROUPS].p):.3f}" in sentences[0]


def test_without_a_shared_specialist_there_is_no_section(inputs):
    inputs.write()
    assert gradients.build(load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root)) is None
