"""What the report says of corrupted images: values, relative drops, and when a difference of drops is called."""

import numpy as np
import pytest
from beside import write_corrupted

from mosaic_pipeline.data.corruptions import KINDS as CORRUPTIONS
from mosaic_pipeline.evaluation.inference import covariance_of_means
from mosaic_pipeline.reporting.means import mean_over
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sections import robustness
from mosaic_pipeline.reporting.stress import corrupted, kept

EIGHT = ("pathmnist", "bloodmnist", "dermamnist", "octmnist", "organamnist", "breastmnist", "chestmnist", "tissuemnist")
EVERY = (1, 2, 3, 4, 5)
KINDS = ("noise", "blur")


def _load(inputs, share, kinds=KINDS):
    inputs.write()
    for kind in kinds:
        write_corrupted(inputs, kind, share if callable(share) else share[kind])
    return load_results(inputs.variants, inputs.seeds, "ABC", root=inputs.root, corruptions=kinds)


def _many(inputs, lost, kinds=KINDS, datasets=EIGHT, seeds=(1, 2, 3), spread=0.002):
    """Variants with a mean drop each, by kind, that varies a little with the seed and not with the dataset."""
    inputs.variants, inputs.datasets, inputs.seeds = tuple(lost), datasets, seeds
    for name in datasets:
        for variant in lost:
            for seed in seeds:
                inputs.metrics[variant, seed, name] = {"acc": 0.8, "auc": 0.9}
    shares = {
        kind: lambda variant, seed, name, strength, place=place: (
            1
            - (lost[variant][place] if isinstance(lost[variant], tuple) else lost[variant])
            - spread * (seed - 2) * (1 + 0.01 * len(name))
        )
        for place, kind in enumerate(kinds)
    }
    return _load(inputs, shares, kinds)


def _text(built) -> str:
    return " ".join(built["sentences"]).replace("\u00a0", " ").replace("\N{MINUS SIGN}", "-")


def _cells(table, variant):
    return next([cell.text for cell in row] for row in table.rows if row[0].text == variant)


def test_values_are_means_over_kinds_strengths_and_datasets(inputs):
    results = _load(inputs, lambda variant, seed, name, strength: 1 - 0.1 * strength)
    name = "breastmnist"
    clean = results.main_run.results[name].acc
    assert corrupted(results, KINDS, EVERY).values("mosaic", name, "acc") == pytest.approx([0.7 * clean])
    assert corrupted(results, ["blur"], [5]).values("mosaic", name, "auc") == pytest.approx(
        [0.5 * results.main_run.results[name].auc]
    )
    assert kept(results, KINDS, EVERY).values("mosaic", name, "acc") == pytest.approx([0.7])
    for view in (corrupted(results, ["blur"], [5]), corrupted(results, KINDS, [1, 2]), kept(results, KINDS, EVERY)):
        for metric in ("acc", "auc"):
            assert view.contributions("mosaic", name, metric).mean(axis=1) == pytest.approx(
                view.values("mosaic", name, metric), abs=1e-6
            )
    assert robustness.drop(kept(results, KINDS, [2]), "mosaic", "acc").value == pytest.approx(0.2)
    means = [mean_over(results, "mosaic", "acc", (each,)).value for each in results.datasets]
    (row,) = (row for row in robustness.build(results)["table"].rows if row[0].text == "mosaic")
    assert [cell.order for cell in row[1:3]] == pytest.approx([0.7 * np.mean(means), 0.3])


def test_the_share_that_is_kept_varies_with_the_cases_as_a_bootstrap_of_its_ratio_does(inputs):
    generator = np.random.default_rng(0)
    before = generator.random(400) < 0.8
    after = np.where(generator.random(400) < 0.7, before, generator.random(400) < 0.5)
    inputs.test, inputs.datasets, inputs.variants = 400, ("breastmnist",), ("mosaic",)
    inputs.metrics["mosaic", 42, "breastmnist"] = {"acc": before.mean(), "auc": before.mean()}
    inputs.contributions["mosaic", 42, "breastmnist"] = np.stack([before, before], axis=1).astype(float)
    results = _load(inputs, lambda *_: 1.0, ["noise"])
    file = results.corrupted["noise"]["mosaic", 42]
    file.results["breastmnist"].acc[:] = [float(after.mean())] * 5
    file.contributions["breastmnist"] = np.repeat(np.stack([after, before], axis=1)[None], 5, axis=0)
    share = kept(results, ["noise"], EVERY)
    cases = share.contributions("mosaic", "breastmnist", "acc")
    assert cases.mean() == pytest.approx(after.mean() / before.mean(), abs=1e-6)
    rows = generator.integers(0, 400, (4000, 400))
    drawn = after[rows].mean(axis=1) / before[rows].mean(axis=1)
    assert np.sqrt(covariance_of_means(cases)[0, 0]) == pytest.approx(drawn.std(), rel=0.08)
    low, high = robustness.drop(share, "mosaic", "acc").interval
    assert (1 - low, 1 - high) == pytest.approx(np.quantile(drawn, (0.975, 0.025)), abs=0.01)


def test_by_one_training_each_nothing_is_called_however_large(inputs):
    built = robustness.build(_many(inputs, {"mosaic": 0.1, "shared": 0.5}, seeds=(42,)))
    assert "one training each, so none is called" in _text(built)
    assert not any(cell.best for table in (built["table"], *built["by_kind"]) for row in table.rows for cell in row)


def test_a_larger_and_a_smaller_drop_are_called_over_several_trainings(inputs):
    built = robustness.build(_many(inputs, {"mosaic": 0.2, "shared": 0.3, "linear_probe": 0.1, "gated": 0.2}))
    assert (
        "In ACC, a smaller relative drop than that of mosaic is shown for linear_probe; a larger one for shared; gated "
        "is not told apart from it." in _text(built)
    )
    rows = {row[0].text: row for row in built["table"].rows}
    assert rows["shared"][3].text == "+10.0"
    assert rows["shared"][3].best
    low, high = (float(end) for end in rows["shared"][3].below.split(" to "))
    assert 9 < low < 10 < high < 11
    assert rows["shared"][5].text == "▲ larger"
    assert rows["linear_probe"][5].text == "▼ smaller"
    assert not rows["gated"][3].best


def test_a_difference_under_one_kind_alone_is_called_there_alone(inputs):
    by_kind = {"mosaic": (0.2, 0.2), "shared": (0.3, 0.2)}
    tables = robustness.build(_many(inputs, by_kind))["by_kind"]
    for table in tables:
        called = {(row[0].text, row[0].below) for row in table.rows if row[-1].best}
        assert called == {("noise", "shared")}


def test_claims_about_kinds_share_the_level(inputs):
    """With eight datasets the least p over datasets is 2/256: below half of 0.05 for three kinds, not for four."""
    kinds = ("noise", "blur", "contrast", "jpeg")
    for number, called in ((3, True), (4, False)):
        results = _many(inputs, {"mosaic": 0.2, "shared": 0.3}, kinds[:number], EIGHT)
        (table, _) = robustness.build(results)["by_kind"]
        assert any(row[-1].best for row in table.rows) is called
        inputs.root = inputs.root / "again"


def test_all_kinds_and_single_ones_are_one_family(inputs):
    """With six datasets the least p is 2/64, which is called of a single kind, and not where kinds are asked beside."""
    found = []
    for kinds in (("noise",), ("noise", "blur")):
        built = robustness.build(_many(inputs, {"mosaic": 0.2, "shared": 0.3}, kinds, EIGHT[:6]))
        found.append((built["table"].rows[1], built["by_kind"][0]))
        inputs.root = inputs.root / "again"
    (alone, of_one), (beside, of_two) = found
    assert alone[3].best
    assert of_one.rows[1][-1].best
    assert not beside[3].best
    assert beside[4].order == pytest.approx(2 * alone[4].order) == pytest.approx(1 / 16)
    assert not any(row[-1].best for row in of_two.rows)
    assert of_one.caption.endswith("Bold: called, as above.")
    assert "by p below 0.05 when multiplied by 4." in of_two.caption


def test_too_few_datasets_are_said_to_be_so(inputs):
    built = robustness.build(_many(inputs, {"mosaic": 0.2, "shared": 0.3}, datasets=EIGHT[:3]))
    assert "No difference of relative drops can be called in ACC: with 3 differing datasets" in _text(built)
    assert not any(cell.best for row in built["table"].rows for cell in row)


def test_what_costs_most_and_least_is_named_with_its_drop(inputs):
    text = _text(robustness.build(_many(inputs, {"mosaic": (0.3, 0.1)})))
    assert "In ACC, mosaic has 80.0 % on clean images and 64.0 % over noise and blur at 5 strengths" in text
    assert "loses 20.0 % of its ACC on average (95 % CI" in text
    assert "most to noise (30.0 %), least to blur (10.0 %)." in text


def test_kinds_are_told_in_words(inputs):
    built = robustness.build(_load(inputs, {"jpeg": lambda *_: 0.9, "pixelate": lambda *_: 0.8}, ("jpeg", "pixelate")))
    assert "over JPEG and coarse pixels at 5 strengths" in _text(built)
    assert "most to coarse pixels (20.0 %), least to JPEG (10.0 %)" in _text(built)
    assert {row[0].text for row in built["by_kind"][0].rows} == {"JPEG", "coarse pixels"}


def test_every_kind_has_a_name():
    assert robustness.KINDS.keys() == set(CORRUPTIONS)


def test_each_strength_stands_in_the_table_of_its_kind(inputs):
    inputs.metrics = {("mosaic", 42, name): {"acc": 0.8, "auc": 0.5} for name in inputs.datasets}
    share = {"noise": lambda *a: 1 - 0.1 * a[-1], "blur": lambda *a: 1 - 0.05 * a[-1]}
    acc, auc = robustness.build(_load(inputs, share))["by_kind"]
    texts = {(row[0].text, row[0].below): [cell.text for cell in row[1:8]] for row in acc.rows}
    assert texts["noise", "mosaic"] == ["80.0", "72.0", "64.0", "56.0", "48.0", "40.0", "30.0"]
    assert texts["blur", "mosaic"] == ["80.0", "76.0", "72.0", "68.0", "64.0", "60.0", "15.0"]
    assert [cell.text for cell in auc.rows[0][1:3]] == ["50.0", "45.0"]


def test_an_undefined_metric_leaves_its_dataset_out_and_none_leaves_a_sentence(inputs):
    inputs.metrics["mosaic", 42, "breastmnist"] = {"auc": None}
    results = _load(inputs, lambda *_: 0.5)
    assert corrupted(results, KINDS, EVERY).values("mosaic", "breastmnist", "auc") == [None]
    assert kept(results, KINDS, EVERY).values("mosaic", "breastmnist", "auc") == [None]
    built = robustness.build(results)
    assert "loses 50.0 % of its AUC" in _text(built)
    inputs.root = inputs.root / "again"
    inputs.metrics = {("mosaic", 42, name): {"auc": None} for name in inputs.datasets}
    built = robustness.build(_load(inputs, lambda *_: 0.5))
    assert "AUC is undefined on every dataset" in _text(built)
    assert _cells(built["table"], "mosaic")[4:] == ["\N{EN DASH}"] * 3


def test_of_a_dataset_that_nothing_was_right_on_no_share_is_kept(inputs):
    inputs.metrics["mosaic", 42, "breastmnist"] = {"acc": 0.0}
    results = _load(inputs, lambda *_: 0.5)
    assert kept(results, KINDS, EVERY).values("mosaic", "breastmnist", "acc") == [None]
    assert "loses 50.0 % of its ACC on average" in _text(robustness.build(results))


def test_without_corruptions_there_is_no_section_whatever_files_lie_there(inputs):
    _load(inputs, lambda *_: 0.5)
    results = load_results(inputs.variants, inputs.seeds, "ABC", root=inputs.root)
    assert robustness.build(results) is None
