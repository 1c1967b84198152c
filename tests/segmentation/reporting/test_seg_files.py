"""A file that is missing, damaged or of something else is one line that names it and the way out."""

import json

import numpy as np
import pytest

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import segmentation_analysis, segmentation_evaluation, segmentation_run
from mosaic_pipeline.npz import write_npz
from mosaic_pipeline.segmentation.reporting.results import load_results

EVALUATION = segmentation_evaluation("m4oe", 42)
OTHERS = segmentation_evaluation("dense", 42)
TRAINING = segmentation_run("m4oe", 42) / "train.json"
OTHER_TRAINING = segmentation_run("dense", 42) / "train.json"
HISTORY = segmentation_run("m4oe", 42) / "history.csv"
ANALYSIS = segmentation_analysis("m4oe", 42)


def change(*keys, value):
    """Return what sets a value deep in a JSON file."""

    def edit(path):
        tree = json.loads(path.read_text(encoding="utf-8"))
        part = tree
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
        path.write_text(json.dumps(tree), encoding="utf-8")

    return edit


def arrays(**edits):
    """Return what replaces arrays of the npz of pictures; None takes one away."""

    def edit(path):
        with np.load(path) as file:
            found = {name: file[name] for name in file.files}
        found |= {name.replace("__", "/"): array for name, array in edits.items()}
        write_npz(path, {name: array for name, array in found.items() if array is not None})

    return edit


def text(content):
    return lambda path: path.write_text(content, encoding="utf-8")


FIRST = ("datasets", "one", "cases", 0)
ORGAN = (*FIRST, "organs", 0)
CASES = [
    (EVALUATION, lambda path: path.unlink(), "no such file; `dvc repro seg_evaluate` makes it"),
    (EVALUATION, text("{"), "not valid JSON"),
    (EVALUATION, change("seed", value=7), "of variant m4oe, seed 7"),
    (EVALUATION, change("md5", "model", value="other"), "of another model than train.json speaks of"),
    (EVALUATION, change("datasets", "three", value={}), "datasets.three"),
    (EVALUATION, change("datasets", "one", "organs", value=["liver"]), "case one_000: not of the set's organs"),
    (EVALUATION, change("datasets", "one", "source", value="phantoms of one"), "datasets.one.source"),
    (EVALUATION, change(*FIRST, "case", value="one_001"), "case one_001 is there twice"),
    (EVALUATION, change(*FIRST, "spacing", value=[1.0, 0.0, 1.0]), "spacing"),
    (EVALUATION, change(*ORGAN, "dsc", value=1.5), "dsc = 1.5"),
    (EVALUATION, change(*ORGAN, "dsc", value=None), "liver: hit, which does not go with its metrics"),
    (EVALUATION, change(*ORGAN, "status", value="missed"), "liver: missed with a DSC of"),
    (EVALUATION, change(*ORGAN, "volume_ref_ml", value=0.0), "liver: hit with 0.0 ml of it in the reference"),
    (EVALUATION, change("datasets", "one", "overlays", 0, "slices", value=[4, 9]), "no slice 9 of a case"),
    (OTHERS, change(*FIRST, "case", value="another"), "one: other cases than those of m4oe, seed 42"),
    (OTHERS, change("datasets", "one", "nsd_mm", "liver", value=3.0), "one: other cases than those of m4oe, seed 42"),
    (EVALUATION.with_suffix(".npz"), lambda path: path.unlink(), "no such file"),
    (EVALUATION.with_suffix(".npz"), arrays(one__worst__image=None), "no array one/worst/image"),
    (EVALUATION.with_suffix(".npz"), arrays(one__worst__image=np.zeros((3, 4, 4), np.uint8)), "one/worst/image"),
    (
        EVALUATION.with_suffix(".npz"),
        arrays(one__worst__prediction=np.full((3, 20, 24), 9, np.uint8)),
        "one/worst/prediction: class 9 of 3 organs",
    ),
    (TRAINING, change("variant", value="hard"), "of variant hard, seed 42"),
    (TRAINING, change("best_round", value=50), "best_round, phases: later than the last round, 5"),
    (TRAINING, change("parameters", "experts", "ct", value=-1), "parameters.experts.ct = -1"),
    (HISTORY, text("round,phase,train_loss,score\n1,1,0.5,0.5\n"), "not the rounds 1 to 5 that train.json speaks of"),
    (HISTORY, text("round,phase\n1,1\n"), "no column train_loss, score"),
    (ANALYSIS, change("variant", value="dense"), "of variant dense, seed 42"),
    (ANALYSIS, change("counterfactual", "datasets", value=["one", "three"]), "of three, which is not configured"),
    (ANALYSIS, change("gates", "layers", value=["only"]), "not 2 experts in each of 1 layers"),
    (ANALYSIS, change("maps", 0, "weights", value=[[[0.5]], [[0.5, 0.5]]]), "maps of several shapes"),
    (ANALYSIS, change("similarity", "cka", value=[[[1.0]]]), "not a table of 2 by 2 experts"),
    (TRAINING, change("config", value={"model": 1}), "config: not a configuration; `dvc repro seg_train` mends that"),
    (TRAINING, change("config", "model", "dim", value=0), "config: model.dim = 0: Input should be greater"),
    (
        OTHER_TRAINING,
        change("config", "datasets", "two", "labels", "gallbladder", value=3),
        "not of the sets that m4oe has",
    ),
]


@pytest.mark.parametrize(("file", "damage", "said"), CASES, ids=lambda part: part if isinstance(part, str) else "")
def test_a_bad_or_foreign_file_is_one_line(inputs, file, damage, said, monkeypatch):
    inputs.variants, inputs.cases = ("m4oe", "dense"), 2
    monkeypatch.chdir(inputs.write())
    damage(file)
    with pytest.raises(PipelineError) as caught:
        load_results(inputs.variants, inputs.seeds, analysed=["m4oe"])
    line = str(caught.value)
    assert line.startswith(f"{file}: ")
    assert said in line
    assert "\n" not in line
    assert "`dvc repro" in line


def test_what_was_written_is_read(inputs):
    inputs.variants, inputs.cases = ("m4oe", "dense"), 2
    results = load_results(inputs.variants, inputs.seeds, inputs.write(), analysed=["m4oe"])
    kinds = {name: tuple(each.kind for each in found) for name, found in results.overlays.items()}
    assert kinds == dict.fromkeys(("one", "two"), ("best", "median", "worst", "hardest"))
    assert results.analyses["m4oe"][0].gates


def test_seeds_of_one_variant_that_were_trained_by_different_configurations_are_refused(inputs):
    inputs.variants, inputs.cases, inputs.seeds = ("m4oe", "dense"), 2, (1, 2)
    root = inputs.write()
    change("md5", "config", value="another")(root / segmentation_run("dense", 2) / "train.json")
    with pytest.raises(PipelineError, match=r"dense/2/train\.json: of another configuration than that of seed 1; "):
        load_results(inputs.variants, inputs.seeds, root)
