"""What does a round forget: what is shown, what is said of it, and how seldom by chance."""

import numpy as np
import pytest
from scipy import stats

from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sections import forgetting
from mosaic_pipeline.reporting.sections.forgetting import findings, forgetting_sentences
from mosaic_pipeline.reporting.wording import MINUS


def _build(inputs):
    inputs.write()
    return forgetting.build(load_results(inputs.variants, inputs.seeds, inputs.specialists, root=inputs.root))


def _text(sentences) -> str:
    return " ".join(sentences).replace("\u00a0", " ").replace(MINUS, "-")


def told(losses, main="mosaic") -> str:
    return _text(forgetting_sentences(findings(losses, main), main))


def test_forgetting_is_what_is_lost_from_the_visit_to_the_end_of_the_round(inputs):
    inputs.after_visits = {"mosaic": 0.03, "shared": -0.01}
    content = _build(inputs)
    assert content["map"].header == ["mosaic", "shared"]  # the third was not validated after its visits
    cells = dict(content["map"].rows)
    assert [cell.text.replace(MINUS, "-") for cell in cells["BreastMNIST"]] == ["+3.0", "-1.0"]
    assert [cell.side for cell in cells["BreastMNIST"]] == ["under", "above"]
    assert [cell.text.replace(MINUS, "-") for cell in cells["Mean"]] == ["+3.0", "-1.0"]
    assert list(cells)[-1] == "Mean"
    assert _text(content["sentences"]) == (
        "Points lost a round on average over datasets, one training each, by which nothing is called: mosaic +3.0 and "
        "shared -1.0. Each number is a mean over 3 rounds (seed 42), of 16 validation cases; one case is 6.2 points."
    )


def test_several_trainings_have_an_interval_and_what_it_is_of_is_said(inputs):
    inputs.after_visits, inputs.seeds = {"mosaic": lambda seed: 0.03 + 0.001 * seed, "shared": lambda seed: 0.0}, (1, 2)
    content = _build(inputs)
    cells = dict(content["map"].rows)
    reach = 100 * stats.t.isf(0.025, 1) * 0.0005
    assert cells["95 % interval"][0].text == f"+{3.15 - reach:.1f} to +{3.15 + reach:.1f}"
    assert cells["95 % interval"][1].text == forgetting.NONE  # nothing varies
    assert cells["Mean"][0].mark
    assert not cells["Mean"][1].mark
    assert "over trainings alone: other validation cases might have lost more or less" in content["map"].caption
    assert "Shown to lose accuracy within a round, on average over datasets: mosaic (3.1" in _text(content["sentences"])
    assert "(seeds 1 and 2)" in content["sentences"][-1]


def test_by_one_training_each_nothing_is_called_however_large():
    found = findings({"mosaic": [0.3], "shared": [0.9]}, "mosaic")
    assert all((each.loses, each.differs, each.loss.interval) == (0, 0, None) for each in found.values())


def test_losses_are_tested_together_against_0_and_against_the_main_variant():
    steady = {"mosaic": [0.010, 0.011, 0.009], "shared": [0.050, 0.051, 0.049], "probe": [-0.02, -0.021, -0.019]}
    text = told(steady)
    assert "Shown to lose accuracy within a round, on average over datasets: mosaic (1.0 points a round, 95 %" in text
    assert "and shared (5.0 points a round" in text
    assert "Shown to gain accuracy within a round, on average over datasets: probe (2.0 points" in text
    assert "Shown to lose more than mosaic: shared (4.0 points" in text
    assert "Shown to lose less than mosaic: probe (3.0 points" in text
    assert told({"mosaic": [0.01, 0.03, -0.02], "shared": [0.01, 0.02, 0.03]}) == (
        "No variant is shown to lose or gain accuracy within a round."
    )


def test_more_variants_leave_less_of_the_level_to_each():
    clear = {"mosaic": [0.010, 0.016, 0.013]}
    assert findings(clear, "mosaic")["mosaic"].loses == 1
    many = clear | {f"other_{index}": [0.1, -0.1, 0.0] for index in range(5)}
    assert findings(many, "mosaic")["mosaic"].loses == 0


def test_losses_that_come_out_equal_but_for_rounding_have_no_spread_to_be_called_by():
    equal = [0.1 + 0.2 - 0.27, 0.03, 0.3 - 0.27]
    assert len(set(equal)) > 1
    assert findings({"mosaic": equal}, "mosaic")["mosaic"].loses == 0


@pytest.mark.parametrize("trainings", [1, 2, 3])
def test_where_nothing_is_forgotten_claims_are_rare_and_with_one_training_there_are_none(trainings):
    generator, repeats = np.random.default_rng(trainings), 40
    spread = np.array([0.002, 0.002, 0.004, 0.008, 0.002, 0.001])[:, None]
    false = 0
    for _ in range(repeats):
        losses = spread * generator.standard_normal((6, trainings))
        found = findings(dict(zip("abcdef", losses.tolist(), strict=True)), "a")
        false += any(each.loses or each.differs for each in found.values())
    # More would be seen once in a thousand times of 5 %.
    assert false <= (0 if trainings == 1 else stats.binom.ppf(0.999, repeats, 0.05))


def test_without_validation_after_visits_there_is_no_section(inputs):
    assert _build(inputs) is None
