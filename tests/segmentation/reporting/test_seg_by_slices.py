"""A set that was trained and tested by slices of the same scans is shown, said to show nothing, and counted nowhere."""

import csv
import io
from types import SimpleNamespace

import pytest

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation.data.splits import BY_SLICES
from mosaic_pipeline.segmentation.reporting.ablation import render_markdown
from mosaic_pipeline.segmentation.reporting.latex import render_latex
from mosaic_pipeline.segmentation.reporting.means import flat, mean_over, of_dataset
from mosaic_pipeline.segmentation.reporting.page import render_datasets, render_page
from mosaic_pipeline.segmentation.reporting.results import TESTED, load_results
from mosaic_pipeline.segmentation.reporting.results_csv import results_csv
from mosaic_pipeline.segmentation.reporting.sections.differences import build as differences
from mosaic_pipeline.segmentation.reporting.sections.headline import caveats, variants_table
from mosaic_pipeline.segmentation.reporting.sentences import few, lead, limits

SEEDS = (1, 2, 3, 4)
LATER = "Set two was " + BY_SLICES + "; it is in no comparison of variants, and in no mean over sets."


def load(inputs):
    return load_results(inputs.variants, inputs.seeds, inputs.write())


def cut(inputs, *names):
    inputs.source, inputs.blocks = "folder", dict.fromkeys(names, (2, 5))
    return inputs


@pytest.fixture(scope="module")
def partly(make_inputs, tmp_path_factory):
    inputs = cut(make_inputs(tmp_path_factory.mktemp("partly")), "two")
    results = load(inputs)
    return SimpleNamespace(results=results, index=render_page(results, "abc"), pages=render_datasets(results, "abc"))


def test_it_is_said_on_the_sets_own_page_and_in_the_limits_of_the_first(partly):
    assert LATER in partly.pages["two"]
    assert LATER in partly.index.partition('<section id="limits">')[2]
    assert LATER in limits(partly.results)
    assert LATER in render_markdown(partly.results, "abc")
    assert ("Partly by slices", "Set two shows nothing about accuracy") in [
        (each.label, each.follows) for each in caveats(partly.results)
    ]
    assert '<span class="tag warning">By slices</span>' in partly.pages["two"]


def test_it_is_not_said_of_another_set(partly):
    assert BY_SLICES not in partly.pages["one"]
    assert "tag warning" not in partly.pages["one"]


def test_how_many_slices_test_stands_in_the_place_of_scans(partly):
    assert "trained on 6 scans (90 slices), tested on 24 other slices of the same; voxels" in partly.pages["two"]
    assert "tested on 8 scans of 8 patients; voxels" in partly.pages["one"]
    assert partly.index.count("24 other slices") == 2  # in the table of sets, too


def test_a_mean_over_sets_is_of_those_by_patient_and_says_so(partly):
    results = partly.results
    for metric in (*TESTED, "hd95"):
        own = of_dataset(results, "m4oe", "one", metric)
        assert mean_over(results, "m4oe", metric).value == pytest.approx(own)
        assert flat(results)[f"mean_{metric}"] == pytest.approx(own)
        assert flat(results)[f"two_{metric}"] == of_dataset(results, "m4oe", "two", metric)
    assert "Means over sets are of Set one alone." in variants_table(results).notes
    assert "tested on 8 scans of Set one." in render_latex(results)


def test_what_it_has_moves_neither_mean_nor_comparison(inputs, make_inputs, tmp_path):
    cut(inputs, "two").seeds = SEEDS
    plain = inputs.dsc
    found = load(inputs)
    assert found.comparisons["dsc"]["dense"].patients == 8
    other = cut(make_inputs(tmp_path / "other", seeds=SEEDS), "two")
    other.dsc = lambda *place: 0.99 * (place[0] == "m4oe") if place[2] == "two" else plain(*place)
    moved = load(other)
    assert of_dataset(moved, "m4oe", "two", "dsc") != of_dataset(found, "m4oe", "two", "dsc")
    assert moved.comparisons == found.comparisons
    for metric in TESTED:
        assert mean_over(moved, "m4oe", metric) == mean_over(found, "m4oe", metric)  # the interval, too
    assert lead(moved) == lead(found)


def test_a_set_of_one_patient_does_not_silence_the_others(inputs):
    inputs.cases, inputs.seeds, inputs.variants = 8, SEEDS, ("m4oe", "dense")
    inputs.patient = lambda name, case: "only" if name == "two" else f"{name}-{case}"
    plain = inputs.dsc
    inputs.dsc = lambda *place: min(0.99, plain(*place) + 0.2 * (place[0] == "m4oe" and place[2] == "one"))
    results = load(cut(inputs, "two"))
    assert lead(results)[0].startswith("m4oe (experts mixed by a gate) beats dense (one MLP for all) in DSC and NSD")
    assert not any("one patient" in sentence for sentence in limits(results))


def test_where_all_sets_are_by_slices_nothing_is_compared_whatever_the_numbers(inputs):
    inputs.seeds, inputs.variants = SEEDS, (*inputs.variants, "dense_wide")
    plain = inputs.dsc
    inputs.dsc = lambda *place: min(0.99, plain(*place) + 0.3 * (place[0] == "m4oe"))
    results = load(cut(inputs, "one", "two"))
    assert lead(results) == ["Nothing is compared: all sets were " + BY_SLICES + "."]
    assert results.comparisons == {metric: {} for metric in TESTED}
    assert differences(results) is None
    assert few(results)
    assert "^{*}" not in render_latex(results)
    values = [of_dataset(results, "m4oe", name, "dsc") for name in ("one", "two")]
    assert mean_over(results, "m4oe", "dsc").value == pytest.approx(sum(values) / 2)
    assert "called" not in [cell.text.lower() for row in variants_table(results).rows for cell in row]
    page = render_page(results, "abc")
    assert f"Set one and Set two were {BY_SLICES}; they are in no comparison of variants." in page
    assert "slices of 8 scans of Set one" in page
    assert "beats" not in page


def test_rows_for_other_programs_bear_it_in_their_source(partly):
    rows = list(csv.DictReader(io.StringIO(results_csv(partly.results, "abc123"))))
    assert {(row["dataset"], row["source"]) for row in rows} == {("one", "folder"), ("two", "folder, by slices")}


@pytest.mark.parametrize("block", [(4, 7), (3, 3)])
def test_a_block_that_is_none_of_the_scan_is_refused(inputs, block):
    inputs.blocks = {"one": block}
    with pytest.raises(PipelineError, match=r"m4oe.*evaluation\.json: .*block"):
        load(inputs)


def test_variants_that_were_tested_on_other_slices_are_refused(inputs, make_inputs):
    inputs.blocks = {"one": (2, 5)}
    inputs.write()
    make_inputs(inputs.root, variants=("hard",), blocks={"one": (1, 4)}, pictures=False).write()
    with pytest.raises(PipelineError, match="one: other cases than those of m4oe, seed 42"):
        load_results(inputs.variants, inputs.seeds, inputs.root)
