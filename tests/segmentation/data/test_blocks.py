"""Scans that are in all splits by blocks of their slices: as asked for alone, along z, and apart to the last slice."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation.custom import Custom
from mosaic_pipeline.segmentation.data.cache import Recipe, build_cache
from mosaic_pipeline.segmentation.data.grid import labels_to_grid
from mosaic_pipeline.segmentation.data.index import Index, build_index, read_index, refuse_shared
from mosaic_pipeline.segmentation.data.intensity import Intensity
from mosaic_pipeline.segmentation.data.nifti import read_image, read_labels
from mosaic_pipeline.segmentation.data.splits import BY_SLICES, SPLITS, Blocks
from mosaic_pipeline.segmentation.datasets import NAMED
from mosaic_pipeline.segmentation.sources import splitter
from stages.segmentation import index as index_stage
from tests.segmentation.workplace import ROOT, run, write_params

DATASET = NAMED["msd_liver"]
BLOCKS = Blocks(test=0.2, val=0.1)
SHAPE = (6, 8, 20)  # in RAS
UPSIDE_DOWN = np.diag([2.0, -2.0, -5.0, 1.0])  # stored from the head down
# Of 20 slices, from the feet up.
PARTS = {"train": [0, 14], "val": [14, 16], "test": [16, 20]}


def make_scan(folder: Path, case: str = "only", seed: int = 0, empty: tuple[int, int] | None = None) -> Path:
    """Write a scan, each of whose slices z has z + 1 voxels of liver, but for those that are empty."""
    image = np.random.default_rng(seed).integers(-500, 500, SHAPE).astype(np.int16)
    labels = np.zeros(SHAPE, np.uint8)
    for z in range(SHAPE[2]):
        labels[..., z].flat[: z + 1] = 1
    if empty:
        labels[..., slice(*empty)] = 0
    save(folder, case, image, labels)
    return folder


def save(folder: Path, case: str, image: np.ndarray, labels: np.ndarray) -> None:
    for kind, values in (("images", image), ("labels", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(values[:, ::-1, ::-1], UPSIDE_DOWN), folder / kind / f"{case}.nii.gz")


def build(folder: Path, **more: object) -> dict:
    return build_index(folder, DATASET, BLOCKS, source="folder", **more)


@pytest.mark.parametrize("depth", [3, 4, 5, 10, 20, 31, 117])
@pytest.mark.parametrize("shares", [(0.2, 0.1), (0.01, 0.01), (0.4, 0.3)])
def test_blocks_are_all_slices_once_in_the_order_train_val_test_by_the_shares(depth, shares):
    blocks = Blocks(*shares).of(depth, "scan")
    assert list(blocks) == list(SPLITS)
    assert [z for start, end in blocks.values() for z in range(start, end)] == list(range(depth))
    sizes = {split: end - start for split, (start, end) in blocks.items()}
    assert min(sizes.values()) >= 1
    for split, share in zip(("test", "val"), shares, strict=True):
        assert sizes[split] == pytest.approx(max(1, depth * share), abs=0.5)


def test_each_scan_is_a_case_of_one_name_in_every_split_with_what_is_in_its_block(tmp_path):
    index = Index.model_validate(build(make_scan(tmp_path)))
    assert [(case.case, case.split, list(case.block)) for case in index.cases] == [
        ("only", split, block) for split, block in PARTS.items()
    ]
    # From the feet up, however it is stored.
    assert [case.voxels["liver"] for case in index.cases] == [sum(range(a + 1, b + 1)) for a, b in PARTS.values()]
    assert {case.shape for case in index.cases} == {SHAPE}
    assert len({case.digest for case in index.cases}) == 1
    assert index.findings == []


def test_what_is_written_is_read_and_a_set_by_patient_says_nothing_of_blocks(tmp_path):
    file = tmp_path / "msd_liver.json"
    file.write_text(json.dumps(build(make_scan(tmp_path / "set"))))
    assert [case.slices for case in read_index(file).cases] == [slice(*block) for block in PARTS.values()]
    folder = make_scan(tmp_path / "three", "a", 1)
    make_scan(make_scan(folder, "b", 2), "c", 3)
    by_patient = build_index(folder, DATASET, lambda cases: dict(zip("abc", SPLITS, strict=True)), source="folder")
    assert not any("block" in case for case in by_patient["cases"])
    assert Index.model_validate(by_patient).cases[0].slices == slice(0, SHAPE[2])


@pytest.mark.parametrize(
    "blocks",
    [
        {"train": [0, 15]},  # into that of validation
        {"test": [16, 21]},  # beyond the scan
        {"val": [15, 15]},
        {"train": [-1, 14]},
        {"test": None},  # the whole scan
    ],
)
def test_an_index_whose_blocks_share_a_slice_or_are_none_is_refused(tmp_path, blocks):
    tree = build(make_scan(tmp_path / "set"))
    cases = [case | {"block": blocks.get(case["split"], case["block"])} for case in tree["cases"]]
    file = tmp_path / "msd_liver.json"
    file.write_text(json.dumps(tree | {"cases": cases}))
    with pytest.raises(PipelineError, match=r"msd_liver\.json: .*(one case is there twice|block|greater than)"):
        read_index(file)


def test_a_scan_that_is_too_thin_is_refused(tmp_path):
    image = np.random.default_rng(0).integers(0, 1000, (6, 8, 2)).astype(np.int16)
    save(tmp_path, "thin", image, np.ones((6, 8, 2), np.uint8))
    with pytest.raises(PipelineError, match=r"thin\.nii\.gz: 2 slices, too few to test on 1, validate on 1 and train"):
        build(tmp_path)


@pytest.mark.parametrize(("split", "empty"), PARTS.items())
def test_a_block_without_an_organ_is_refused(tmp_path, split, empty):
    first, last = empty[0] + 1, empty[1]
    make_scan(tmp_path, empty=tuple(empty))
    said = rf"only\.nii\.gz: slices {first} to {last} \({split}\) are all background; leave the case out, or take other"
    with pytest.raises(PipelineError, match=said) as error:
        build(tmp_path)
    assert "\n" not in str(error.value)


def test_patients_that_could_be_kept_apart_are_refused_whatever_the_limit(tmp_path):
    make_scan(make_scan(tmp_path, "a", 1), "b", 2)
    assert len(build(tmp_path)["cases"]) == 6
    assert {case["case"] for case in build(tmp_path, case_limit=1)["cases"]} == {"b"}
    make_scan(tmp_path, "c", 3)
    for limit in (None, 1):
        with pytest.raises(PipelineError, match="msd_liver: 3 patients, enough to split by patient; take `split_by"):
            build(tmp_path, case_limit=limit)
    (tmp_path / "patients.csv").write_text("case,patient\na,p\nb,p\nc,q\n")
    assert len(build(tmp_path)["cases"]) == 9


def test_one_scan_in_two_sets_is_refused_all_the_same(tmp_path):
    one = Index.model_validate(build(make_scan(tmp_path)))
    other = build_index(tmp_path, NAMED["msd_hepatic_vessel"], BLOCKS, source="folder")
    refuse_shared([one])
    with pytest.raises(PipelineError, match=r"msd_liver \(only\) and msd_hepatic_vessel \(only\) have the same scan"):
        refuse_shared([one, Index.model_validate(other)])


RECIPES = [
    Recipe(8, Intensity(percentiles=(0.5, 99.5)), "foreground", 0.2, seed=0),
    Recipe(8, Intensity(window=(-200.0, 200.0)), "all", 0.0, seed=0),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_nothing_of_the_block_that_tests_makes_a_difference_to_what_trains(tmp_path, recipe):
    kept = []
    for name, seed in (("a", 0), ("b", 1)):
        folder = make_scan(tmp_path / name)
        image, labels = (
            np.asarray(nibabel.load(folder / kind / "only.nii.gz").dataobj)[:, ::-1, ::-1].copy()
            for kind in ("images", "labels")
        )
        if seed:
            image[..., slice(*PARTS["test"])] = 30000
            labels[..., slice(*PARTS["test"])] = 2
            save(folder, "only", image, labels)
        target = tmp_path / f"cached_{name}"
        build_cache(folder, Index.model_validate(build(folder)), target, recipe)
        kept.append({path.name: path.read_bytes() for path in target.iterdir()})
    assert kept[0] == kept[1]


def test_slices_of_the_cache_are_those_of_their_block_and_bear_the_scans_numbers(tmp_path):
    folder = make_scan(tmp_path / "set", empty=(3, 6))
    index = Index.model_validate(build(folder))
    build_cache(folder, index, tmp_path / "cached", RECIPES[0])
    where = {split: np.load(tmp_path / f"cached/{split}_where.npy") for split in ("train", "val")}
    for split, rows in where.items():
        assert {index.cases[place].split for place in rows[:, 0]} == {split}
    trained = set(where["train"][:, 1])
    assert {0, 1, 2, *range(6, 14)} < trained <= set(range(14))  # and two of the three that are empty
    assert len(trained) == 13
    assert where["val"][:, 1].tolist() == [14, 15]
    scan = read_image(folder / "images/only.nii.gz")
    whole = labels_to_grid(read_labels(folder / "labels/only.nii.gz", scan), scan.spacing, RECIPES[0].size)
    for split, rows in where.items():
        assert np.array_equal(np.load(tmp_path / f"cached/{split}_labels.npy"), whole[rows[:, 1]])
    meta = json.loads((tmp_path / "cached/meta.json").read_text())
    assert {split: (each["of"], each["cases"]) for split, each in meta["splits"].items()} == {
        "train": (14, 1),
        "val": (2, 1),
    }


@pytest.fixture
def declared(tmp_path, monkeypatch):
    """Write params.yaml with a set of one scan, and whatever else it says of the set."""
    monkeypatch.chdir(tmp_path)
    for variable in ("DVC_ROOT", "DVC_STAGE"):
        monkeypatch.delenv(variable, raising=False)
    make_scan(tmp_path / "scans/mine")

    def write(**more):
        custom = {"mine": {"modality": "mri", "labels": {"liver": 1}} | more}
        data = {"source": "folder", "root": "scans", "datasets": ["mine"], "custom": custom}
        write_params(**{f"data__{key}": value for key, value in data.items()})

    return write


def test_a_set_is_by_slices_where_it_says_so_and_not_otherwise(declared, capsys):
    for more in ({}, {"split_by": "patient"}):
        declared(**more)
        with pytest.raises(PipelineError, match="mine: 1 patient, too few to test on 1, validate on 1 and train"):
            run(index_stage, "mine")
    declared(split_by="slices")
    run(index_stage, "mine")
    out, err = capsys.readouterr()
    assert "segmentation/index/mine.json: 1 cases (14 train, 2 val, 4 test slices) of mri, 1 organs" in out
    assert f"warning: mine: {BY_SLICES}" in err


def test_phantoms_are_never_by_slices(declared):
    from mosaic_pipeline.params import load_params

    declared(split_by="slices")
    section = load_params().segmentation
    assert splitter(section, "mine") == Blocks(section.data.split.test, section.data.split.val)
    phantom = section.data.model_copy(update={"source": "phantom"})
    assert not isinstance(splitter(section.model_copy(update={"data": phantom}), "mine"), Blocks)


def test_declarations_of_the_manual_are_legal():
    text = (ROOT / "docs/segmentation.md").read_text()
    trees = [yaml.safe_load(block.partition("```")[0]) for block in text.split("```yaml\n")[1:]]
    sets = {name: each for tree in trees for name, each in tree["segmentation"]["data"]["custom"].items()}
    assert {name for name, each in sets.items() if Custom.model_validate(each).split_by == "slices"} == {
        "totalseg_ct",
        "totalseg_mr",
    }
