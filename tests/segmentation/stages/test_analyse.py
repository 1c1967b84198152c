"""The stage as its command runs it: without a scan that tests, and a null file where nothing is asked."""

import json
import shutil

import pytest

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import INDEX, SCANS, SLICES, segmentation_analysis, segmentation_run
from mosaic_pipeline.segmentation.data.index import read_index
from mosaic_pipeline.training.model_file import MODEL
from stages.segmentation import analyse, cache, configure
from tests.segmentation.workplace import SEED, SETS, VARIANTS, run, write_model

NULLS = dict.fromkeys(("counterfactual", "gates", "maps", "similarity", "conflicts"))


def analysed(variant):
    run(analyse, variant, SEED)
    return json.loads(segmentation_analysis(variant, SEED).read_text())


def test_what_is_written_is_the_same_bytes_each_time(workplace, logged):
    tree = analysed("m4oe")
    assert list(tree) == ["variant", "seed", "cases", *NULLS]
    assert (tree["variant"], tree["seed"], tree["cases"]) == ("m4oe", SEED, 6)
    assert {name for name in NULLS if tree[name] is not None} == {"gates", "maps", "similarity", "conflicts"}
    assert set(tree["gates"]["datasets"]) == set(SETS)
    first = segmentation_analysis("m4oe", SEED).read_bytes()
    analysed("m4oe")
    assert segmentation_analysis("m4oe", SEED).read_bytes() == first
    assert logged.metrics["analysis/gates/entropy"] == pytest.approx(
        sum(sum(each["entropy"]) for each in tree["gates"]["datasets"].values()) / (2 * len(tree["gates"]["layers"])),
        abs=1e-5,
    )
    assert {context for _, context in logged.datasets} == {"validation"}


def test_a_variant_that_is_not_to_be_analysed_has_a_file_of_nulls(workplace, logged):
    assert analysed("dense") == {"variant": "dense", "seed": SEED, "cases": 6} | NULLS
    assert logged.metrics == {}


def test_no_scan_that_tests_is_read_before_the_evaluation(workplace, logged):
    """All that is left of them is their entry in the index: cache, configurations and analyses are the same bytes."""
    before = {path: path.read_bytes() for path in (*SLICES.rglob("*.*"), *INDEX.glob("*"))}
    tree = {variant: analysed(variant) for variant in ("m4oe", "hard")}
    for name in SETS:
        for _, case in read_index(INDEX / f"{name}.json").of_split("test"):
            (SCANS / name / case.image).unlink()
            (SCANS / name / case.labels).unlink()
    shutil.rmtree(SLICES)
    for name in SETS:
        run(cache, name)
    for variant in VARIANTS:
        run(configure, variant)
        write_model(variant)
    assert {path: path.read_bytes() for path in before} == before
    assert {variant: analysed(variant) for variant in ("m4oe", "hard")} == tree


def test_a_model_of_other_slices_is_refused(workplace, logged):
    (segmentation_run("hard", SEED) / MODEL).replace(segmentation_run("m4oe", SEED) / MODEL)
    with pytest.raises(PipelineError, match="variant is hard, expected m4oe"):
        run(analyse, "m4oe", SEED)
    assert not segmentation_analysis("m4oe", SEED).exists()
