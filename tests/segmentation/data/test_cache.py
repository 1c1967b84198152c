import json
import shutil
import tracemalloc

import numpy as np
import pytest
import torch

from mosaic_pipeline.data.batches import consecutive
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation.data import cache
from mosaic_pipeline.segmentation.data.cache import Recipe, build_cache
from mosaic_pipeline.segmentation.data.index import Index, build_index
from mosaic_pipeline.segmentation.data.intensity import Intensity
from mosaic_pipeline.segmentation.data.phantom import generate, write_phantoms
from mosaic_pipeline.segmentation.data.slices import Slices, open_slices, read_meta
from mosaic_pipeline.segmentation.data.splits import read_splits
from mosaic_pipeline.segmentation.datasets import phantom_set

CPU = torch.device("cpu")
DATASET = phantom_set("atlas23")
RECIPE = Recipe(24, Intensity(percentiles=(0.5, 99.5)), "foreground", 0.2, seed=0)


def _index(folder, dataset=DATASET):
    def split(patients):
        return read_splits(folder / "splits.json", patients, dataset.name)

    return Index.model_validate(build_index(folder, dataset, split, source="phantom"))


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw") / "atlas23"
    write_phantoms(folder, DATASET, 24, {"train": 2, "val": 2, "test": 2})
    return folder


@pytest.fixture(scope="module")
def index(raw):
    return _index(raw)


@pytest.fixture(scope="module")
def cached(raw, index, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cached") / "atlas23"
    build_cache(raw, index, folder, RECIPE)
    return folder


@pytest.fixture
def copies(raw, cached, tmp_path):
    shutil.copytree(raw, tmp_path / "raw/atlas23")
    shutil.copytree(cached, tmp_path / "cached/atlas23")
    return tmp_path / "raw/atlas23", tmp_path / "cached/atlas23"


def _load(folder, split):
    return [np.load(folder / f"{split}_{kind}.npy") for kind in ("images", "labels", "where")]


def test_no_scan_that_tests_is_opened_and_none_of_its_slices_is_kept(copies, index, tmp_path):
    raw, cached = copies
    of_test = [case for _, case in index.of_split("test")]
    for case in of_test:
        (raw / case.image).unlink()
        (raw / case.labels).unlink()
    build_cache(raw, index, tmp_path / "again", RECIPE)
    kept = {
        index.cases[place].split for split in ("train", "val") for place in _load(tmp_path / "again", split)[2][:, 0]
    }
    assert kept == {"train", "val"}
    assert not list((tmp_path / "again").glob("test*"))
    assert (tmp_path / "again/meta.json").read_bytes() == (cached / "meta.json").read_bytes()


@pytest.mark.parametrize("split", ["train", "val"])
def test_slices_are_of_the_scan_and_place_that_the_cache_says(cached, index, split):
    images, labels, where = _load(cached, split)
    assert {index.cases[place].split for place in where[:, 0]} == {split}
    for image, label, (place, z) in zip(images, labels, where, strict=True):
        number = int(index.cases[place].case[-3:])
        _, classes, spacing = generate(DATASET, 24, split, number)
        alone = cache.labels_to_grid(classes, spacing, 24)[z]
        assert (label == alone).all()
        assert image.dtype == np.float16
        assert -1 <= image.min() <= image.max() <= 1


def test_images_are_scaled_in_float32_and_lie_on_their_masks(cached):
    images, labels, _ = _load(cached, "train")
    assert len(np.unique(images)) > 2000
    liver, around = images[labels == 1].astype(float), images[labels == 0].astype(float)
    assert liver.mean() > around.mean() + 0.3


def test_training_has_every_slice_with_an_organ_and_some_without_as_a_share_of_those(cached, index):
    where = _load(cached, "train")[2]
    for place, case in index.of_split("train"):
        _, classes, _ = generate(DATASET, 24, "train", int(case.case[-3:]))
        has = classes.any(axis=(0, 1))
        kept = where[where[:, 0] == place, 1]
        assert set(np.flatnonzero(has)) <= set(kept)
        assert len(kept) == has.sum() + round(0.2 * has.sum())
        assert list(kept) == sorted(kept)


def test_validation_has_all_slices(cached, index):
    where = _load(cached, "val")[2]
    expected = [[place, z] for place, case in index.of_split("val") for z in range(case.shape[2])]
    assert where.tolist() == expected


def test_which_empty_slices_train_is_drawn_by_seed_for_each_case(raw, index, cached, tmp_path):
    build_cache(raw, index, tmp_path / "same", RECIPE)
    assert _tree(tmp_path / "same") == _tree(cached)
    draws = []
    for seed in range(4):
        build_cache(raw, index, tmp_path / "other", Recipe(24, RECIPE.intensity, "foreground", 0.2, seed=seed))
        draws.append(_load(tmp_path / "other", "train")[2].tolist())
    assert any(draw != draws[0] for draw in draws)


def _tree(folder):
    return {path.name: md5_file(path) for path in folder.iterdir()}


def test_all_slices_train_if_asked_for(raw, index, tmp_path):
    meta = build_cache(raw, index, tmp_path / "all", Recipe(24, RECIPE.intensity, "all", 0, seed=0))
    assert meta["splits"]["train"]["n"] == meta["splits"]["train"]["of"]


def test_meta_says_how_many_slices_and_pixels_there_are_and_what_the_arrays_hash_to(cached):
    meta = read_meta(cached)
    for split in ("train", "val"):
        images, labels, where = _load(cached, split)
        assert meta.splits[split].n == len(images) == len(labels) == len(where)
        assert meta.class_voxels[split] == np.bincount(labels.ravel(), minlength=3).tolist()
        for kind, md5 in meta.splits[split].md5.items():
            assert md5 == md5_file(cached / f"{split}_{kind}.npy")
    assert meta.splits["train"].cases == 2
    assert meta.form == DATASET.form()


def test_memory_does_not_grow_with_the_number_of_scans(tmp_path):
    dataset = phantom_set("flare22")
    write_phantoms(tmp_path / "raw", dataset, 64, {"train": 6, "val": 1, "test": 1})
    index = _index(tmp_path / "raw", dataset)
    peaks = []
    for count in (2, 6):
        train = [case for case in index.cases if case.split == "train"][:count]
        some = index.model_copy(update={"cases": [*train, *(case for case in index.cases if case.split == "val")]})
        tracemalloc.start()
        build_cache(tmp_path / "raw", some, tmp_path / "cached", RECIPE)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def _fails(raw, index, target, match):
    with pytest.raises(PipelineError, match=match) as error:
        build_cache(raw, index, target, RECIPE)
    assert "\n" not in str(error.value)
    assert not [path for path in target.parent.iterdir() if target.name in path.name]


@pytest.mark.parametrize("kind", ["image", "labels"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_file_that_changed_since_the_index_is_refused_and_nothing_is_left(copies, index, tmp_path, kind, split):
    path = copies[0] / getattr(index.of_split(split)[-1][1], kind)
    path.write_bytes(path.read_bytes() + b"\0")
    _fails(
        copies[0],
        index,
        tmp_path / "new",
        rf"{path.name}: not the file that the index speaks of; `dvc repro seg_index`",
    )


def test_a_file_that_is_gone_is_one_line(copies, index, tmp_path):
    path = copies[0] / index.of_split("val")[0][1].labels
    path.unlink()
    _fails(copies[0], index, tmp_path / "new", rf"{path.name}: no such file; ")


def test_labels_that_are_none_of_the_set_are_refused(copies, index, tmp_path):
    form = index.form | {"labels": {"liver": 1}}
    _fails(copies[0], index.model_copy(update={"form": form}), tmp_path / "new", r"label 2 is none of atlas23's")


def test_a_split_without_scans_is_refused(raw, index, tmp_path):
    without = index.model_copy(update={"cases": [case for case in index.cases if case.split != "val"]})
    _fails(raw, without, tmp_path / "new", "atlas23: no scan in val; give it one in segmentation.data.split")


def test_a_cache_that_fails_leaves_the_last_one(copies, index):
    raw, cached = copies
    before = _tree(cached)
    (raw / index.of_split("val")[0][1].image).unlink()
    with pytest.raises(PipelineError):
        build_cache(raw, index, cached, RECIPE)
    assert _tree(cached) == before


@pytest.mark.parametrize("resident", [False, True])
def test_batches_are_the_cached_slices_in_the_order_asked_for(cached, resident):
    images, labels, where = _load(cached, "train")
    split = Slices(cached, "train", CPU)
    if resident:
        split.make_resident()
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    batches = list(split.batches(consecutive(slice(0, len(split)), 5), order))
    assert (torch.cat([batch.images for batch in batches]).numpy() == images[order]).all()
    assert (torch.cat([batch.labels for batch in batches]).numpy() == labels[order]).all()
    assert (batches[0].images.dtype, batches[0].labels.dtype) == (torch.float16, torch.uint8)
    assert (split.where == where).all()
    assert split.class_voxels == np.bincount(labels.ravel(), minlength=3).tolist()
    assert isinstance(split.images, np.memmap)


def test_both_splits_of_every_set_are_opened(cached):
    train, val = open_slices(cached.parent, {"atlas23": DATASET}, RECIPE.size, ("train", "val"), CPU)
    assert len(train["atlas23"]) < len(val["atlas23"])


def _edit(folder, name, edit):
    array = np.load(folder / name)
    np.save(folder / name, edit(array))


def _edit_meta(folder, **changes):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | changes))


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda f: (f / "train_images.npy").unlink(), r"train_images\.npy: no such file"),
        (lambda f: (f / "train_labels.npy").write_bytes(b""), r"train_labels\.npy: not an intact npy file"),
        (lambda f: (f / "meta.json").write_text("{"), r"meta\.json: not valid JSON"),
        (lambda f: _edit(f, "train_images.npy", lambda x: x[:-1]), r"train_images\.npy: images \[.*, not the"),
        (lambda f: _edit(f, "train_images.npy", lambda x: x.astype(np.float32)), r"train_images\.npy: holds float32"),
        (lambda f: _edit(f, "train_labels.npy", lambda x: x[:, :-1]), r"train_labels\.npy: labels \[.*, not the"),
        (lambda f: _edit(f, "train_labels.npy", lambda x: x + 7), r"train_labels\.npy: not the one that meta\.json"),
        (lambda f: _edit(f, "train_where.npy", lambda x: x[::-1].copy()), r"train_where\.npy: not the one that meta"),
        (lambda f: _edit(f, "train_where.npy", lambda x: x[:, :1]), r"train_where\.npy: holds int32"),
        (lambda f: _edit_meta(f, dataset="flare22"), r"meta\.json: of flare22, not of atlas23"),
        (lambda f: _edit_meta(f, splits={}), r"meta\.json: nothing on the split train"),
        (lambda f: _edit_meta(f, class_voxels={"train": [1], "val": [1]}), r"meta\.json: nothing on the split train"),
        (lambda f: _edit_meta(f, form=phantom_set("flare22").form()), r"meta\.json: "),
    ],
)
def test_a_cache_that_is_damaged_or_another_ones_is_one_line(copies, damage, line):
    damage(copies[1])
    with pytest.raises(PipelineError, match=line) as error:
        open_slices(copies[1].parent, {"atlas23": DATASET}, RECIPE.size, ("train",), CPU)
    assert "\n" not in str(error.value)


def test_a_configuration_with_other_labels_is_refused(cached):
    with pytest.raises(PipelineError, match=r"meta\.json: not of the form that the configuration has"):
        open_slices(cached.parent, {"atlas23": phantom_set("amos22_mr")}, RECIPE.size, ("val",), CPU)


def test_a_configuration_with_another_size_is_refused(cached):
    with pytest.raises(PipelineError, match=r"meta\.json: slices of 24 pixels a side, but the configuration has 48; "):
        open_slices(cached.parent, {"atlas23": DATASET}, 48, ("val",), CPU)
