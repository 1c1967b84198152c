"""Which dataset features are of: near the own means, none of them far away, and never by a test case."""

import numpy as np
import pytest

from mosaic_pipeline.data.augment import STATISTICS
from mosaic_pipeline.datasets import Dataset
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.recognition.file import read_recogniser, save_recogniser
from mosaic_pipeline.recognition.means import fit_means
from mosaic_pipeline.recognition.moments import Moments, groups_of
from mosaic_pipeline.recognition.recogniser import ACCEPTED, Recogniser, Sight, fit_candidates, limit
from mosaic_pipeline.recognition.trial import Seen, fit, records, shares

WIDTH, CLASSES = 8, 3
SIGHT = Sight(32, STATISTICS["imagenet"], "fp32")


ANY = Dataset("any", 2, 1, CLASSES, "multi-class")


def cases(seed: int, n: int, at: float = 0.0, spread: np.ndarray | float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features of three classes side by side around `at`, and their labels."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(n) % CLASSES)[:, None]
    features = spread * generator.standard_normal((n, WIDTH))
    features[:, 0] += at + 3 * labels[:, 0]
    return features.astype(np.float32), labels


def moments(features: np.ndarray, labels: np.ndarray, dataset: Dataset = ANY) -> Moments:
    found = Moments.empty(dataset, features.shape[1])
    found.add(features, groups_of(dataset, labels))
    return found


def seen(places: dict[str, float], n: int = 300, **how) -> dict[str, Seen]:
    """Datasets at some places, each split drawn anew."""
    found = {}
    for index, (name, at) in enumerate(places.items()):
        train, validation, test = (cases(3 * index + part, n, at, **how) for part in range(3))
        found[name] = Seen(moments(*train), validation[0], test[0])
    return found


def test_datasets_far_apart_are_told_and_one_that_is_left_out_is_none_of_the_others():
    tallies = records(seen({"a": 0, "b": 100, "c": -100}))
    for name, record in tallies.items():
        assert set(record["proposed"]) == {name}
        assert record["held_out"] == {"proposed": {}, "none": record["n"]}
    means = shares(tallies)
    assert means["none_held_out"] == 1
    assert means["right"] + means["none"] == pytest.approx(1)


def test_own_cases_are_accepted_at_about_the_rate_that_is_chosen():
    for record in records(seen({"a": 0, "b": 100}, n=3000)).values():
        assert 1 - record["none"] / record["n"] == pytest.approx(ACCEPTED, abs=0.02)


@pytest.mark.parametrize(("n", "rank"), [(1, 1), (5, 5), (18, 18), (19, 19), (39, 38), (100, 96)])
def test_the_limit_is_the_rank_that_a_further_case_is_below_with_that_probability(n, rank):
    """Of n + 1 cases drawn alike each is as likely the one at any rank."""
    distances = np.random.default_rng(0).permutation(n) + 1.0
    assert limit(distances) == rank


def test_the_order_of_datasets_changes_nothing():
    made = seen({"a": 0, "b": 4, "c": 20})
    turned = dict(reversed(made.items()))
    first, second = fit(made), fit(turned)
    assert first.means.datasets == second.means.datasets
    for key in ("means", "owners", "whitening"):
        assert np.array_equal(getattr(first.means, key), getattr(second.means, key))
    assert np.array_equal(first.limits, second.limits)
    assert records(turned) == records(made)


def test_of_equally_near_datasets_the_first_by_name_is_proposed_and_the_other_is_next():
    alike, features = cases(0, 60), cases(1, 60)[0]
    candidates = fit({name: Seen(moments(*alike), features, features) for name in "ba"})
    (proposal,) = candidates.propose(features[:1])
    assert (proposal.nearest, proposal.runner_up) == ("a", "b")


def test_one_dataset_alone_is_proposed_or_none_is():
    one = seen({"a": 0})
    near, far = fit(one).propose(np.stack([one["a"].test.mean(axis=0), np.full(WIDTH, 1000, np.float32)]))
    assert (near.dataset, near.nearest, near.runner_up) == ("a", "a", None)
    assert (far.dataset, far.nearest) == (None, "a")
    assert far.distance > far.limit == near.limit
    assert records(one)["a"]["held_out"] is None
    assert shares(records(one))["none_held_out"] is None


def test_what_varies_within_classes_says_little_and_what_hardly_varies_says_much():
    """Two datasets differ by one in a direction in which hardly anything varies, and lie in a cloud ten wide."""
    spread = np.full(WIDTH, 10.0)
    spread[0] = 0.1
    made = seen({"a": 0, "b": 1}, spread=spread)
    assert min(record["proposed"][name] for name, record in records(made).items()) > 0.9 * 300
    assert fit(made).limits == pytest.approx(np.ones(2), abs=0.5)  # a distance is about 1 from the own class


def test_a_class_is_as_near_as_its_own_mean():
    """Between two classes of one dataset, where its overall mean is, lies another dataset."""
    generator = np.random.default_rng(0)

    def two(place: float) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(100)[:, None] % 2
        features = generator.standard_normal((100, WIDTH))
        features[:, 0] += np.where(labels[:, 0], place, -place)
        return features.astype(np.float32), labels

    made = {"around": two(20), "between": two(0)}
    candidates = fit_candidates(
        {name: moments(*each) for name, each in made.items()}, {n: f for n, (f, _) in made.items()}
    )
    assert {each.nearest for each in candidates.propose(made["between"][0])} == {"between"}
    assert {each.nearest for each in candidates.propose(made["around"][0])} == {"around"}


def test_moments_in_parts_are_means_and_covariance_within_classes():
    features, labels = cases(0, 90)
    found = moments(features[:50], labels[:50])
    found.add(features[50:], groups_of(ANY, labels[50:]))
    by_class = [features[labels[:, 0] == label].astype(np.float64) for label in range(CLASSES)]
    assert found.means() == pytest.approx(np.stack([each.mean(axis=0) for each in by_class]))
    within = np.concatenate([each - each.mean(axis=0) for each in by_class])
    assert found.covariance() == pytest.approx(within.T @ within / 90)


def test_a_large_dataset_does_not_decide_what_varies():
    small, large = cases(0, 60, spread=1.0), cases(1, 6000, spread=5.0)
    repeated = tuple(np.concatenate([each] * 100) for each in small)
    once, often = (fit_means({"a": moments(*each), "b": moments(*large)}) for each in (small, repeated))
    assert once.whitening == pytest.approx(often.whitening, rel=1e-4)


def test_cases_of_several_labels_are_in_a_group_for_each_and_those_without_in_one_of_their_own():
    dataset = Dataset("x", 2, 1, 2, "multi-label, binary-class")
    labels = np.array([[1, 1], [0, 1], [0, 0]])
    assert groups_of(dataset, labels).tolist() == [[True, True, False], [False, True, False], [False, False, True]]
    found = moments(np.array([[1.0], [3.0], [8.0]], np.float32), labels, dataset)
    assert found.means().tolist() == [[1], [2], [8]]


def test_a_class_without_a_case_has_no_mean_and_features_that_never_vary_are_no_obstacle():
    constant = np.ones((6, WIDTH), np.float32)
    found = moments(constant, np.zeros((6, 1), np.int64))
    assert found.means().shape == (1, WIDTH)
    candidates = fit_candidates({"a": found}, {"a": constant})
    same, other = candidates.propose(np.stack([constant[0], 2 * constant[0]]))
    assert (same.dataset, other.dataset) == ("a", None)
    assert np.isfinite(other.distance)


@pytest.fixture
def recogniser() -> Recogniser:
    return Recogniser({2: fit(seen({"a": 0, "b": 4})), 3: fit(seen({"v": 0}))}, SIGHT)


def test_a_file_gives_the_same_proposals_and_is_the_same_bytes(recogniser, tmp_path):
    for name in ("first", "second"):
        save_recogniser(tmp_path / name, recogniser, "m" * 32)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    found = read_recogniser(tmp_path / "first", WIDTH, "m" * 32)
    assert found.sight == SIGHT
    features = cases(9, 40)[0]
    for dimension in (2, 3):
        before, after = (each.candidates[dimension].propose(features) for each in (recogniser, found))
        assert before == after


def test_a_file_of_another_backbone_is_refused(recogniser, tmp_path):
    save_recogniser(tmp_path / "means.safetensors", recogniser, "m" * 32)
    with pytest.raises(PipelineError, match="of another backbone"):
        read_recogniser(tmp_path / "means.safetensors", WIDTH, "n" * 32)
    with pytest.raises(PipelineError, match=r"2D.means is \[6, 8\], expected \[6, 9\]"):
        read_recogniser(tmp_path / "means.safetensors", WIDTH + 1, "m" * 32)
