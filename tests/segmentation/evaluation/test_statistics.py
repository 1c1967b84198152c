import numpy as np
import pytest

from mosaic_pipeline.segmentation.evaluation import statistics
from mosaic_pipeline.segmentation.evaluation.statistics import (
    Scores,
    case_means,
    collect,
    compare,
    dataset_mean,
    mean_estimate,
    patient_means,
    resample_cases,
)


def made(cases=30, seeds=3, gap=0.0, datasets=("ct",), noise=0.02, variants=("main", "other", "third"), seed=0):
    """Scores in which cases are hard or easy for all, and `other` is better by `gap`."""
    generator = np.random.default_rng(seed)
    values = {}
    for name in datasets:
        hard = generator.uniform(0.3, 0.8, (1, 1, cases, 2))
        values[name] = hard + noise * generator.standard_normal((len(variants), seeds, cases, 2))
        values[name][1] += gap
    return Scores("dsc", variants, values, {name: tuple(map(str, range(cases))) for name in datasets})


def record(case, **organs):
    records = [{"organ": organ, "dsc": value} for organ, value in organs.items()]
    return {"case": case, "patient": case, "organs": records}


def test_the_same_cases_are_drawn_for_whoever_asks_and_others_for_another_dataset():
    patients = list("abcdefghijkl")
    counts = resample_cases("ct", patients)
    assert counts.shape == (2000, 12)
    assert (counts.sum(axis=1) == 12).all()
    np.testing.assert_array_equal(counts, resample_cases("ct", patients))
    assert (counts != resample_cases("mr", patients)).any()
    # N of N with replacement: each case 1 time on average, with a variance of 1 - 1 / N.
    assert counts.mean(axis=0) == pytest.approx(np.ones(12), abs=0.1)
    assert counts.var() == pytest.approx(11 / 12, rel=0.03)


def test_a_mean_is_over_patients_then_organs_and_each_draw_weighs_cases():
    values = np.array([[0.2, np.nan], [0.4, 0.9], [0.9, np.nan]])
    assert dataset_mean(values) == pytest.approx((0.5 + 0.9) / 2)
    counts = np.array([[1, 1, 1], [3, 0, 0], [0, 1, 2]])
    # Where an organ is in none of the cases drawn, the mean is of the others.
    expected = [0.7, 0.2, (2.2 / 3 + 0.9) / 2]
    assert dataset_mean(values, counts).tolist() == pytest.approx(expected)
    assert np.isnan(dataset_mean(np.full((3, 2), np.nan)))


def test_a_case_is_the_mean_of_its_organs_and_one_that_a_training_has_no_value_for_is_left_out():
    values = np.array([[[0.2, 0.4], [np.nan, 0.5]], [[0.4, 0.6], [np.nan, np.nan]]])
    found = case_means(values)
    assert found[0] == pytest.approx(0.4)
    assert np.isnan(found[1])


def test_what_cases_do_to_a_mean_is_its_standard_error():
    scores = made(cases=40, seeds=2, noise=0.0)
    estimate = mean_estimate(scores, "main", ["ct"])
    of_cases = scores.of("main", "ct")[0].mean(axis=1)
    assert estimate.value == pytest.approx(of_cases.mean())
    assert estimate.cases == pytest.approx(of_cases.std(ddof=1) / np.sqrt(40), rel=0.05)


def test_cases_that_are_hard_for_both_do_not_widen_a_difference():
    scores = made(noise=0.001)
    found = compare(scores, "main", ["ct"])["other"]
    apart = mean_estimate(scores, "main", ["ct"])
    assert found.estimate.cases < apart.cases / 20


def test_a_difference_over_trainings_and_cases_is_called_in_its_direction():
    assert compare(made(gap=0.1), "main", ["ct"])["other"].verdict == "higher"
    lower = compare(made(gap=-0.1), "main", ["ct"])
    assert (lower["other"].verdict, lower["other"].losses, lower["other"].patients) == ("lower", 30, 30)
    assert lower["third"].verdict in ("within noise", "unclear")
    low, high = lower["other"].over_patients
    assert low < -0.1 < high < 0


def test_one_training_each_says_nothing_of_methods_and_still_has_an_interval_over_patients():
    found = compare(made(gap=0.1, seeds=1), "main", ["ct"])["other"]
    assert found.verdict == "one training each"
    assert found.over_patients[0] > 0


@pytest.mark.parametrize(("cases", "says"), [(5, "too few differ"), (8, "higher")])
def test_fewer_than_six_cases_cannot_say_yes(cases, says):
    scores = made(cases=cases, gap=0.2, variants=("main", "other"))
    assert compare(scores, "main", ["ct"])["other"].verdict == says


def test_six_cases_suffice_for_one_comparison_and_not_for_two():
    assert compare(made(cases=6, gap=0.2, variants=("main", "other")), "main", ["ct"])["other"].verdict == "higher"
    assert compare(made(cases=6, gap=0.2), "main", ["ct"])["other"].verdict == "too few differ"


def test_both_tests_are_adjusted_over_the_variants(monkeypatch):
    scores = made(gap=0.02)
    adjusted = compare(scores, "main", ["ct"])
    monkeypatch.setattr(statistics, "holm", list)
    alone = compare(scores, "main", ["ct"])
    for kind in ("p", "rank_p"):
        first, second = sorted(alone, key=lambda name: getattr(alone[name], kind))
        assert getattr(adjusted[first], kind) == pytest.approx(min(1, 2 * getattr(alone[first], kind)))
        assert getattr(adjusted[second], kind) >= getattr(alone[second], kind)


def test_datasets_count_alike_and_their_cases_together():
    scores = made(cases=10, datasets=("ct", "mr"))
    for values in scores.values.values():
        values[1] += np.linspace(0, 0.3, 10)[:, None]  # better the later the case
    scores.values["mr"] = scores.values["mr"][:, :, :4]
    scores.patients["mr"] = scores.patients["mr"][:4]
    both = compare(scores, "main", ["ct", "mr"])["other"]
    single = [compare(scores, "main", [name])["other"] for name in ("ct", "mr")]
    assert both.estimate.value == pytest.approx((single[0].estimate.value + single[1].estimate.value) / 2)
    assert both.estimate.cases == pytest.approx(np.hypot(single[0].estimate.cases, single[1].estimate.cases) / 2)
    assert both.patients == 14


def test_a_dataset_of_one_case_calls_nothing():
    found = compare(made(cases=1, gap=0.5), "main", ["ct"])["other"]
    assert (found.verdict, found.over_patients, found.estimate.interval) == ("too few differ", None, None)


def test_methods_that_do_not_differ_are_called_in_one_of_twenty_at_most():
    called = sum(
        each.verdict in ("higher", "lower")
        for seed in range(60)
        for each in compare(made(cases=8, variants=("main", "other"), seed=seed), "main", ["ct"]).values()
    )
    assert called <= 6  # 60 x 5 %, and two standard errors


def test_values_are_collected_by_variant_seed_case_and_organ():
    evaluations = {
        (variant, seed): {"ct": [record("a", liver=seed / 10, spleen=None), record("b", liver=1.0, spleen=place / 10)]}
        for place, variant in enumerate(("main", "other"))
        for seed in (3, 7)
    }
    scores = collect(evaluations, "dsc")
    assert scores.variants == ("main", "other")
    assert scores.values["ct"].shape == (2, 2, 2, 2)
    np.testing.assert_array_equal(scores.of("other", "ct")[1], [[0.7, np.nan], [1.0, 0.1]])
    assert scores.patients == {"ct": ("a", "b")}


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"ct": [record("b", liver=1.0)]}, "ct: other, seed 3, was tested on other cases than main"),
        ({"ct": [record("a", lung=1.0)]}, "ct: other, seed 3, was tested on other cases than main"),
        ({"ct": [record("a", liver=1.0)], "mr": []}, "mr: other, seed 3, was tested on other cases than main"),
        ({}, "ct: other, seed 3, was tested on other cases than main"),
    ],
)
def test_trainings_that_answer_other_cases_are_not_compared(other, says):
    with pytest.raises(ValueError, match=says):
        collect({("main", 3): {"ct": [record("a", liver=1.0)]}, ("other", 3): other}, "dsc")


def test_variants_with_other_seeds_are_not_compared():
    evaluation = {"ct": [record("a", liver=1.0)]}
    with pytest.raises(ValueError, match="no evaluation of other, seed 7"):
        collect({("main", 3): evaluation, ("main", 7): evaluation, ("other", 3): evaluation}, "dsc")


def repeated(patients, scans, seed=0):
    """Scores of scans that differ between variants by what suits the patient, which is 0 on average over patients."""
    scores = made(cases=patients * scans, variants=("main", "other"), seed=seed)
    generator = np.random.default_rng([seed, 1])
    scores.values["ct"][1] += np.repeat(generator.normal(0, 0.1, patients), scans)[:, None]
    scores.patients["ct"] = tuple(str(place // scans) for place in range(patients * scans))
    return scores


def test_all_scans_of_a_patient_are_drawn_together():
    counts = resample_cases("ct", ("a", "b", "a", "c"))
    np.testing.assert_array_equal(counts[:, 0], counts[:, 2])
    np.testing.assert_array_equal(counts[:, [0, 1, 3]], resample_cases("ct", ("x", "y", "z")))


def test_patients_with_one_scan_each_are_drawn_as_their_scans_always_were():
    """The numbers were written down when scans were drawn, so that no committed result moves."""
    counts = resample_cases("ct", tuple("abcdefghijkl"))
    assert counts[0].tolist() == [0, 2, 3, 1, 1, 0, 0, 0, 1, 1, 3, 0]
    assert counts.flags.c_contiguous  # else matrix products round otherwise
    found = compare(made(cases=12, gap=0.02), "main", ["ct"])["other"]
    values = [*found.estimate.interval, *found.over_patients, found.p, found.rank_p]
    before = [0.0023607818358516337, 0.02515236336451, 0.00551011647269613, 0.02216311750858171]
    assert values == pytest.approx([*before, 0.0519286725432172, 0.0322265625], rel=1e-9)


def test_a_patient_has_the_mean_of_the_scans_that_have_a_value():
    found = patient_means(np.array([0.2, 0.5, 0.6, np.nan, np.nan]), ("b", "a", "b", "a", "c"))
    np.testing.assert_array_equal(found, [0.4, 0.5, np.nan])


@pytest.mark.parametrize("patients", [2, 8])
def test_scans_of_few_patients_are_called_different_no_more_often_than_the_patients_are(patients):
    found = [compare(repeated(patients, 6, seed), "main", ["ct"])["other"] for seed in range(60)]
    assert {each.patients for each in found} == {patients}
    assert sum(each.verdict in ("higher", "lower") for each in found) <= 6  # 60 x 5 %, and two standard errors


def test_what_patients_do_to_a_mean_is_the_standard_error_over_patients_and_not_over_scans():
    scores = repeated(40, 6)
    scores.values["ct"][0] = 0.0
    found = compare(scores, "main", ["ct"])["other"]
    of_patients = scores.of("other", "ct").mean(axis=(0, 2)).reshape(40, 6).mean(axis=1)
    assert found.estimate.cases == pytest.approx(of_patients.std(ddof=1) / np.sqrt(40), rel=0.1)


def test_scans_that_are_there_six_times_change_nothing():
    once = made(cases=12, gap=0.02, variants=("main", "other"))
    often = Scores(
        "dsc",
        once.variants,
        {"ct": np.repeat(once.values["ct"], 6, axis=2)},
        {"ct": tuple(np.repeat(once.patients["ct"], 6))},
    )
    first, second = (compare(scores, "main", ["ct"])["other"] for scores in (once, often))
    assert (first.rank_p, first.wins, first.losses, first.verdict) == (
        second.rank_p,
        second.wins,
        second.losses,
        second.verdict,
    )
    assert second.estimate.interval == pytest.approx(first.estimate.interval)
    assert second.over_patients == pytest.approx(first.over_patients)


def test_whose_a_scan_is_must_agree_between_trainings():
    main, other = record("a", liver=1.0), record("a", liver=1.0) | {"patient": "someone else"}
    with pytest.raises(ValueError, match="ct: other, seed 3, was tested on other cases than main"):
        collect({("main", 3): {"ct": [main]}, ("other", 3): {"ct": [other]}}, "dsc")
