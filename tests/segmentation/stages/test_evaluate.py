"""The stage as its command runs it: what it writes, what it reads, and what it refuses."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import INDEX, PREDICTIONS, SCANS, segmentation_evaluation, segmentation_run
from mosaic_pipeline.segmentation.data.grid import ceiling
from mosaic_pipeline.segmentation.data.index import cut_case, read_index
from mosaic_pipeline.segmentation.data.nifti import read_image, read_labels
from mosaic_pipeline.segmentation.data.splits import Blocks
from mosaic_pipeline.segmentation.evaluation.metrics import case_metrics
from mosaic_pipeline.training.model_file import MODEL
from stages.segmentation import configure, evaluate
from tests.segmentation.workplace import SEED, SETS, VARIANTS, run, write_params

RESULT = segmentation_evaluation("m4oe", SEED)


def evaluated(variant="m4oe"):
    run(evaluate, variant, SEED)
    return json.loads(segmentation_evaluation(variant, SEED).read_text())


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_organ_of_every_test_case_is_measured_on_predictions_that_lie_on_their_scans(workplace, logged):
    tree = evaluated()
    assert (tree["variant"], tree["seed"], tree["main"]) == ("m4oe", SEED, True)
    assert list(tree["datasets"]) == list(SETS)
    for name, result in tree["datasets"].items():
        index = read_index(INDEX / f"{name}.json")
        dataset, tested = index.labelled_set, [case for _, case in index.of_split("test")]
        assert result["organs"] == list(dataset.organs)
        assert [case["case"] for case in result["cases"]] == [case.case for case in tested]
        assert (result["title"], result["size"]) == (f"{result['title'].split()[0]} phantom", 16)
        assert result["train"] == {"cases": 1, "slices": result["train"]["slices"]}
        for record, case in zip(result["cases"], tested, strict=True):
            image = SCANS / name / case.image
            written = PREDICTIONS / "m4oe" / str(SEED) / name / f"{case.case}.nii.gz"
            scan, stored, its = read_image(image), nibabel.load(written), nibabel.load(image)
            assert stored.shape == its.shape
            assert np.array_equal(stored.affine, its.affine)
            assert [int(stored.header[code]) for code in ("qform_code", "sform_code")] == [
                int(its.header[code]) for code in ("qform_code", "sform_code")
            ]
            # What is measured is what was written.
            reference, found = (
                dataset.to_classes(read_labels(path, scan)) for path in (SCANS / name / case.labels, written)
            )
            assert record["organs"] == case_metrics(reference, found, scan.spacing, dataset.organs, result["nsd_mm"])
            assert record["shape"] == list(scan.voxels.shape)
            assert record["patient"] == case.patient
            ceilings = record["ceiling"]
            assert list(ceilings) == list(dataset.organs)
            assert all((ceilings[organ] is None) == (case.voxels[organ] == 0) for organ in dataset.organs)
        own = {organ: logged.metrics[f"test/{name}/{organ}/dsc"] for organ in dataset.organs}
        scores = {o: [r["dsc"] for case in result["cases"] for r in case["organs"] if r["organ"] == o] for o in own}
        there = {organ: [each for each in values if each is not None] for organ, values in scores.items()}
        assert own == {o: pytest.approx(np.mean(values)) if values else None for o, values in there.items()}
        defined = [value for value in own.values() if value is not None]
        assert logged.metrics[f"test/{name}/dsc"] == pytest.approx(np.mean(defined))
        assert logged.metrics[f"test/{name}/seconds_per_case"] > 0
    assert logged.datasets == [(name, "testing") for name in SETS]


def test_overlays_are_slices_of_the_very_scans_that_they_name(workplace, logged):
    tree = evaluated()
    arrays = np.load(RESULT.with_suffix(".npz"))
    names = set()
    for name, result in tree["datasets"].items():
        index = read_index(INDEX / f"{name}.json")
        cases = {case.case: case for case in index.cases}
        assert [shown["kind"] for shown in result["overlays"]] == ["best", "median", "worst", "hardest"]
        for shown in result["overlays"]:
            case, prefix = cases[shown["case"]], f"{name}/{shown['kind']}"
            assert case.split == "test"
            scan = read_image(SCANS / name / case.image)
            written = PREDICTIONS / "m4oe" / str(SEED) / name / f"{case.case}.nii.gz"
            for kind, path in (("reference", SCANS / name / case.labels), ("prediction", written)):
                classes = index.labelled_set.to_classes(read_labels(path, scan))[..., shown["slices"]]
                assert np.array_equal(arrays[f"{prefix}/{kind}"], np.moveaxis(classes, 2, 0))
            assert arrays[f"{prefix}/image"].shape == arrays[f"{prefix}/reference"].shape
            assert arrays[f"{prefix}/image"].dtype == np.uint8
            names |= {f"{prefix}/{kind}" for kind in ("image", "reference", "prediction")}
    assert set(arrays.files) == names


def test_the_same_inputs_are_the_same_bytes_and_the_order_of_cases_does_not_matter(workplace, logged):
    first = evaluated()
    before = files(Path("segmentation"))
    assert evaluated() == first
    assert files(Path("segmentation")) == before
    for name in SETS:
        path = INDEX / f"{name}.json"
        tree = json.loads(path.read_text())
        path.write_text(json.dumps(tree | {"cases": tree["cases"][::-1]}))
    turned = evaluated()
    for name in SETS:
        a, b = first["datasets"][name], turned["datasets"][name]
        assert b["cases"] == a["cases"][::-1]
        assert b["overlays"] == a["overlays"]
    after = files(Path("segmentation"))
    assert {path for path in before if after[path] != before[path]} == {
        Path("index") / f"{name}.json" for name in SETS
    } | {RESULT.relative_to("segmentation")}


@pytest.mark.parametrize(("write", "kept"), [("main", {"m4oe"}), ("all", {"m4oe", "hard"}), ("none", set())])
def test_predictions_are_kept_of_those_variants_alone(workplace, logged, write, kept):
    write_params(evaluate__write=write)
    for variant in ("m4oe", "hard"):
        run(configure, variant)
        tree = evaluated(variant)
        folder = PREDICTIONS / variant / str(SEED)
        assert folder.is_dir()
        assert len(files(folder)) == (6 if variant in kept else 0)
        assert tree["main"] == (variant == "m4oe")
        assert not list(folder.parent.glob(".*"))


def test_another_main_variant_changes_the_roles_of_the_two_alone(workplace):
    before = files(Path("segmentation"))
    write_params(ablation__run=["hard", "m4oe", "dense"])
    for variant in VARIANTS:
        run(configure, variant)
    after = files(Path("segmentation"))
    changed = {str(path) for path in after if after[path] != before.get(path)}
    assert changed == {"roles/m4oe.json", "roles/hard.json"}


def test_another_tolerance_measures_again_what_the_same_model_finds(workplace, logged):
    first, predicted = evaluated(), files(PREDICTIONS)
    write_params(evaluate__nsd_mm=0.01)
    second = evaluated()
    assert files(PREDICTIONS) == predicted
    tumour = [[case["organs"][1] for case in tree["datasets"]["atlas23"]["cases"]] for tree in (first, second)]
    for before, after in zip(*tumour, strict=True):
        assert (before["nsd_mm"], after["nsd_mm"]) == (2.0, 0.01)
        assert before | {"nsd": 0, "nsd_mm": 0} == after | {"nsd": 0, "nsd_mm": 0}
    assert first["datasets"]["atlas23"]["nsd_mm"]["liver"] == 5.0  # its own, whatever the others have


def _by_blocks(name="atlas23"):
    """Have one scan of those that test in all splits, by blocks of its slices; return the block that tests."""
    path = INDEX / f"{name}.json"
    tree, index = json.loads(path.read_text()), read_index(path)
    record = next(case for case in tree["cases"] if case["split"] == "test")
    parts = cut_case(SCANS / name, record, index.labelled_set, Blocks(test=0.3, val=0.1))
    path.write_text(json.dumps(tree | {"cases": parts}))
    return read_index(path).of_split("test")[0][1]


def test_of_a_scan_in_blocks_all_is_predicted_and_the_block_that_tests_is_measured(workplace, logged):
    whole = evaluated()["datasets"]["atlas23"]
    before = files(PREDICTIONS)
    case = _by_blocks()
    result = evaluated()["datasets"]["atlas23"]
    (record,) = result["cases"]
    image, name = SCANS / "atlas23" / case.image, f"{case.case}.nii.gz"
    written = Path(f"m4oe/{SEED}/atlas23/{name}")
    scan, dataset, block = read_image(image), read_index(INDEX / "atlas23.json").labelled_set, slice(*record["block"])
    assert (record["case"], record["block"]) == (case.case, list(case.block))
    assert record["shape"] == list(scan.voxels.shape)
    assert nibabel.load(PREDICTIONS / written).shape == nibabel.load(image).shape
    assert {path: data for path, data in before.items() if "atlas23" not in path.parts or path == written} == files(
        PREDICTIONS
    )
    reference, found = (
        dataset.to_classes(read_labels(path, scan)) for path in (SCANS / "atlas23" / case.labels, PREDICTIONS / written)
    )
    expected = case_metrics(reference[..., block], found[..., block], scan.spacing, dataset.organs, whole["nsd_mm"])
    assert record["organs"] == expected
    of_grid = ceiling(reference[..., block], scan.spacing, result["size"], dataset.num_classes)
    assert list(record["ceiling"].values()) == [None if np.isnan(dice) else dice for dice in of_grid]
    arrays = np.load(RESULT.with_suffix(".npz"))
    for shown in result["overlays"]:
        assert set(shown["slices"]) <= set(range(block.start, block.stop))
        kept = arrays[f"atlas23/{shown['kind']}/reference"]
        assert np.array_equal(kept, np.moveaxis(reference[..., shown["slices"]], 2, 0))


def _of_test(name="atlas23"):
    index = read_index(INDEX / f"{name}.json")
    return next(case for _, case in index.of_split("test")), SCANS / name


def _another_scan():
    case, folder = _of_test()
    other = next(case for case in read_index(INDEX / "atlas23.json").cases if case.split == "train")
    (folder / case.image).write_bytes((folder / other.image).read_bytes())


def _no_scan():
    case, folder = _of_test()
    (folder / case.labels).unlink()


def _index(**changes):
    path = INDEX / "atlas23.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _no_test():
    _index(cases=[case | {"split": "train"} for case in json.loads((INDEX / "atlas23.json").read_text())["cases"]])


def _other_form():
    form = json.loads((INDEX / "atlas23.json").read_text())["form"]
    _index(form=form | {"modality": "mri"})


REFUSED = {
    "a scan that is another one now": (_another_scan, r"\.nii\.gz: not the file that the index speaks of"),
    "a label map that is gone": (_no_scan, r"\.nii\.gz: no such file"),
    "an index without test scans": (_no_test, "no scan tests"),
    "an index of another form": (_other_form, "not of the form that the configuration has"),
    "another model": (lambda: (segmentation_run("m4oe", SEED) / MODEL).write_bytes(b"?"), "not a model file"),
    "no role": (lambda: Path("segmentation/roles/m4oe.json").unlink(), "no such file; `dvc repro seg_configure`"),
}


@pytest.mark.parametrize(("damage", "said"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_one_line_and_leaves_nothing_behind(workplace, logged, damage, said):
    damage()
    before = files(workplace)
    with pytest.raises(PipelineError, match=said) as error:
        run(evaluate, "m4oe", SEED)
    assert "\n" not in str(error.value)
    assert files(workplace) == before
