"""What the report of segmentation says, and what it does not."""

import pytest

from mosaic_pipeline.segmentation.reporting.latex import render_latex
from mosaic_pipeline.segmentation.reporting.means import mean_over
from mosaic_pipeline.segmentation.reporting.results import TESTED, load_results
from mosaic_pipeline.segmentation.reporting.sections.differences import build as differences
from mosaic_pipeline.segmentation.reporting.sections.headline import caveats, variants_table
from mosaic_pipeline.segmentation.reporting.sections.parameters import parameters_table
from mosaic_pipeline.segmentation.reporting.sections.training import runs_table
from mosaic_pipeline.segmentation.reporting.sentences import compared, lead, limits, questions

SEEDS = (1, 2, 3, 4)


def load(inputs, **options):
    return load_results(inputs.variants, inputs.seeds, inputs.write(), **options)


def better(variant, by, plain):
    """DSC of `plain`, one variant's raised by `by` on every case and organ."""
    return lambda *place: min(0.99, plain(*place) + (by if place[0] == variant else 0))


def said(results):
    """Sentences, verdicts of the table, and stars of the LaTeX table."""
    verdicts = [cell.text for row in variants_table(results).rows[1:] for cell in (row[5], row[9])]
    return " ".join(lead(results)), verdicts, render_latex(results)


def test_variants_that_differ_in_their_seeds_alone_are_unclear(inputs):
    inputs.seeds = SEEDS
    text, verdicts, latex = said(load(inputs))
    assert text.count("It is unclear whether m4oe (experts mixed by a gate) or") == 2
    assert "beats" not in text
    assert "loses" not in text
    assert all(verdict.startswith("unclear") for verdict in verdicts)
    assert "^{*}" not in latex


@pytest.mark.parametrize(("by", "verb", "verdict"), [(0.2, "beats", "▼ lower"), (-0.2, "loses to", "▲ higher")])
def test_a_difference_on_all_cases_and_seeds_is_called_in_its_direction(inputs, by, verb, verdict):
    inputs.seeds, inputs.variants = SEEDS, ("m4oe", "dense")
    inputs.dsc = better("m4oe", by, inputs.dsc)
    text, verdicts, latex = said(load(inputs))
    assert text.startswith(
        f"m4oe (experts mixed by a gate) {verb} dense (one MLP for all) in DSC and NSD: in DSC m4oe is"
    )
    assert "unclear" not in text
    assert verdicts == [verdict] * 2
    assert latex.count("^{*}") == 2


@pytest.mark.parametrize(("ahead", "stands", "word"), [("m4oe", "ahead", "higher"), ("dense", "behind", "lower")])
def test_the_interval_of_a_sentence_is_that_of_the_lead_it_tells(inputs, ahead, stands, word):
    inputs.seeds, inputs.variants = SEEDS, ("m4oe", "dense")
    inputs.dsc = better(ahead, 0.2, inputs.dsc)
    results = load(inputs)
    found = results.comparisons["dsc"]["dense"].estimate
    assert (found.value > 0) == (ahead == "dense")
    low, high = sorted(abs(bound) for bound in found.interval)
    size = f"{100 * abs(found.value):.1f} points {stands}"
    told = f"in DSC m4oe is {size} (95\u00a0% CI {100 * low:.1f} to {100 * high:.1f}), {word} in"
    assert told in compared(results, "dense")


def test_one_training_each_calls_nothing_however_large_the_difference(inputs):
    inputs.dsc = better("m4oe", 0.25, inputs.dsc)
    results = load(inputs)
    text = " ".join(lead(results))
    assert text.count("It is unclear whether") == 2
    assert "One training each (seed 42) says nothing about methods" in text
    assert "called" not in [cell.text.lower() for cell in variants_table(results).rows[1]]
    assert "over patients)" in text  # what the intervals are of
    assert "One training each" in [caveat.label for caveat in caveats(results)]
    assert "^{*}" not in render_latex(results)


def test_fewer_cases_than_could_ever_be_called_are_said(inputs):
    inputs.seeds, inputs.cases, inputs.variants = SEEDS, 2, ("m4oe", "dense")
    inputs.dsc = better("m4oe", 0.25, inputs.dsc)
    results = load(inputs)
    text = " ".join(lead(results))
    assert "It is unclear whether" in text
    assert "with 4 patients that differ none could be called" in text
    assert "With 4 test patients nothing can be called" in text
    assert "Few patients" in [caveat.label for caveat in caveats(results)]


def test_many_scans_of_few_patients_are_few_and_said_to_be(inputs):
    inputs.seeds, inputs.variants = SEEDS, ("m4oe", "dense")
    inputs.patient = lambda name, case: f"{name}-{case // 4}"
    inputs.dsc = better("m4oe", 0.25, inputs.dsc)
    results = load(inputs)
    text = " ".join(lead(results))
    assert "with 4 patients that differ none could be called" in text
    assert "With 4 test patients nothing can be called" in text
    assert ("Few patients", "as few as 2 test patients of a set") in [(c.label, c.follows) for c in caveats(results)]


def test_the_first_questions_are_what_experts_and_what_the_gate_bring(inputs):
    inputs.variants = ("m4oe", "single", "hard", "dense_wide", "dense")
    assert questions(load(inputs)) == ["dense", "hard"]


def test_an_expert_that_joined_later_answers_no_question_of_the_gate_and_is_said_to_have(inputs):
    inputs.variants = ("m4oe", "new_modality", "hard")
    results = load(inputs)
    assert questions(results) == ["hard"]
    joined = "new_modality (experts without a gate, the last of which joined when the others were trained)"
    assert joined in compared(results, "new_modality")
    table = runs_table(results)
    rounds = ["4 of experts, 1 of gate", "5 of experts, 5 of added experts", "5 of experts"]
    assert [row[1].text for row in table.rows] == rounds
    assert table.notes == ["new_modality: in the rounds before Set two joined, the score is of the other sets."]


def test_what_a_slice_takes_is_that_of_what_is_deployed(inputs):
    inputs.variants = ("m4oe", "hard")
    table = parameters_table(load(inputs))
    assert table.header[-3:] == ["Total", "Active", "MAC"]
    gated, hard = ([(cell.text, cell.below) for cell in row[-2:]] for row in table.rows)
    assert gated == [("1.11\u00a0M", "one expert 809\u00a0k"), ("33.4\u00a0M", "one expert 24.3\u00a0M")]
    assert hard == [("809\u00a0k", ""), ("24.3\u00a0M", "")]


def test_without_other_variants_nothing_is_compared(inputs):
    inputs.variants = ("m4oe",)
    results = load(inputs)
    assert lead(results) == ["Only m4oe was run: there is nothing to compare it with."]
    assert differences(results) is None


def test_a_mean_is_over_cases_then_organs_then_sets(inputs):
    inputs.cases = 2
    # Set one: organs of .2, .4 and .6 on average, so .4; set two: .8 and .6, so .7.
    organs = {"one": [(0.1, 0.3), (0.3, 0.5), (0.5, 0.7)], "two": [(0.7, 0.9), (0.6, 0.6)]}
    inputs.dsc = lambda variant, seed, dataset, case, organ: organs[dataset][organ][case]
    assert mean_over(load(inputs), "m4oe", "dsc").value == pytest.approx(0.55)


def test_phantoms_and_one_patient_are_said_to_show_nothing(inputs):
    assert "say nothing about M4oE on the sets whose names the phantoms bear" in limits(load(inputs))[0]


def test_a_set_of_one_patient_is_said_to_show_nothing(inputs):
    inputs.source = "folder"
    inputs.patient = lambda name, case: "only" if name == "one" else f"{name}-{case}"
    results = load(inputs)
    text = " ".join(limits(results))
    assert "test scans of Set one are of one patient" in text
    assert "nothing about accuracy" in text
    assert "agreement with that model" in text  # labels may be a model's
    assert ("One patient", "Set one says nothing about accuracy") in [(c.label, c.follows) for c in caveats(results)]


def test_every_tested_metric_is_in_every_comparison(inputs):
    results = load(inputs)
    assert {metric: sorted(table) for metric, table in results.comparisons.items()} == {
        metric: ["dense", "hard"] for metric in TESTED
    }
