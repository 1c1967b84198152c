"""Data that a model trains on without complaint and that give a wrong number: found, said, or refused."""

import json
import sys

import numpy as np
import pytest
import yaml

from mosaic_pipeline.data import npz, official
from mosaic_pipeline.data.cache import build_cache
from mosaic_pipeline.data.findings import Finding, describe
from mosaic_pipeline.data.phantom import write_phantom
from mosaic_pipeline.data.subset import stratified_subset
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import RAW
from mosaic_pipeline.params import PARAMS_FILE, Data
from stages import cache, declare

COUNTS = {"train": 12, "val": 8, "test": 6}
NAMES = ("breastmnist", "retinamnist", "chestmnist", "adrenalmnist3d")


def clean(name):
    """Arrays of a dataset in which nothing is odd."""
    dataset, rng, content = MEDMNIST[name], np.random.default_rng(0), {}
    for split, count in COUNTS.items():
        content[f"{split}_images"] = rng.integers(0, 256, (count, *dataset.image_shape(28)), dtype=np.uint8)
        labels = np.arange(count)[:, None] % max(2, dataset.num_classes)
        if dataset.multi_label:
            labels = (np.arange(count)[:, None] + np.arange(dataset.num_classes)) % 2
        content[f"{split}_labels"] = labels.astype(np.uint8)
    return content


def build(folder, name, content, source="mirror", **changes):
    """Cache these arrays and return the findings, those of training and those of the test split."""
    folder.mkdir(exist_ok=True)
    np.savez(folder / "raw.npz", **content)
    values = {"source": "mirror", "mirror": "unused", "verify": False, "allow_leakage": True, "size_2d": 28}
    values |= {"size_3d": 28, "train_limit": None, "eval_limit": None, "datasets": [name]}
    data, dataset = Data(**values | {"external": [], "corruptions": [], "own": {}} | changes), MEDMNIST[name]
    parts = folder / "training", folder / "test"
    data = data.model_copy(update={"source": source})
    metas = build_cache(folder / "raw.npz", *parts, dataset, official.about(dataset), data)
    return tuple(meta["findings"] for meta in metas)


def copied(split, rows, source, from_rows):
    def change(content):
        content[f"{split}_images"][rows] = content[f"{source}_images"][from_rows]

    return change


def filled(split, rows, value):
    def change(content):
        content[f"{split}_images"][rows] = value

    return change


def relabelled(split, value):
    def change(content):
        content[f"{split}_labels"][:] = value

    return change


def without(split, label, other):
    def change(content):
        labels = content[f"{split}_labels"]
        labels[labels == label] = other

    return change


def column(split, index, value):
    def change(content):
        content[f"{split}_labels"][:, index] = value

    return change


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found_where_nothing_is_odd(tmp_path, name):
    assert build(tmp_path, name, clean(name), allow_leakage=False) == ([], [])


@pytest.mark.parametrize("name", MEDMNIST)
def test_phantoms_have_nothing_odd(tmp_path, name):
    write_phantom(tmp_path / "phantom.npz", MEDMNIST[name], 28, {"train": 24, "val": 16, "test": 24})
    with np.load(tmp_path / "phantom.npz") as content:
        assert build(tmp_path, name, content, allow_leakage=False) == ([], [])


FOUND = [
    ("breastmnist", copied("test", [1, 4], "train", [0, 7]), {"kind": "in_train", "split": "test", "images": 2}),
    ("adrenalmnist3d", copied("test", [5], "train", [11]), {"kind": "in_train", "split": "test", "images": 1}),
    ("retinamnist", copied("test", [0], "val", [0]), {"kind": "in_val", "split": "test", "images": 1}),
    ("chestmnist", copied("val", [7, 0, 3], "train", [2, 3, 4]), {"kind": "in_train", "split": "val", "images": 3}),
    ("breastmnist", copied("train", [3, 5], "train", [0, 0]), {"kind": "repeated", "split": "train", "images": 2}),
    ("breastmnist", copied("test", [3], "test", [0]), {"kind": "repeated", "split": "test", "images": 1}),
    ("retinamnist", filled("train", [0, 1, 2], 0), {"kind": "constant", "split": "train", "images": 3}),
    ("adrenalmnist3d", filled("val", [6], 255), {"kind": "constant", "split": "val", "images": 1}),
    ("breastmnist", filled("test", [0, 1], 7), {"kind": "constant", "split": "test", "images": 2}),
    ("retinamnist", without("train", 3, 2), {"kind": "absent", "split": "train", "classes": [3]}),
    ("retinamnist", without("val", 0, 1), {"kind": "absent", "split": "val", "classes": [0]}),
    ("breastmnist", relabelled("val", 1), {"kind": "absent", "split": "val", "classes": [0]}),
    ("breastmnist", relabelled("test", 0), {"kind": "absent", "split": "test", "classes": [1]}),
    ("chestmnist", column("val", 5, 0), {"kind": "absent", "split": "val", "classes": [5]}),
    ("chestmnist", column("train", 13, 1), {"kind": "absent", "split": "train", "classes": [13]}),
]


@pytest.mark.parametrize(("name", "change", "finding"), FOUND)
@pytest.mark.parametrize("block_bytes", [16 << 20, 1], ids=["one block", "block of one image"])
def test_each_oddity_stands_in_the_meta_of_the_part_it_concerns(
    tmp_path, monkeypatch, name, change, finding, block_bytes
):
    monkeypatch.setattr(npz, "BLOCK_BYTES", block_bytes)
    content = clean(name)
    change(content)
    training, test = build(tmp_path, name, content)
    assert (training, test) == (([], [finding]) if finding["split"] == "test" else ([finding], []))
    metas = [json.loads((tmp_path / part / "meta.json").read_text()) for part in ("training", "test")]
    assert [meta["findings"] for meta in metas] == [training, test]


def test_fractions_cast_to_whole_numbers_are_found_for_each_split(tmp_path):
    content = clean("breastmnist")
    for split in COUNTS:
        content[f"{split}_images"] = np.round(content[f"{split}_images"] / 255).astype(np.uint8)
    training, test = build(tmp_path, "breastmnist", content)
    assert training == [{"kind": "dim", "split": split, "images": COUNTS[split]} for split in ("train", "val")]
    assert test == [{"kind": "dim", "split": "test", "images": COUNTS["test"]}]


REFUSED = [
    (
        copied("test", [1, 4], "train", [7, 0]),
        "2 of 6 test images are training images too (test_images[1] is train_images[7]); "
        "take them out, or `data.allow_leakage: true` goes on and the report says so",
    ),
    (
        copied("test", [5], "val", [2]),
        "1 of 6 test images is a validation image too (test_images[5] is val_images[2]); "
        "take them out, or `data.allow_leakage: true` goes on and the report says so",
    ),
    (filled("train", slice(None), 0), "every image in train_images has one value throughout; "),
    (filled("val", slice(None), 9), "every image in val_images has one value throughout; "),
    (filled("test", slice(None), 255), "every image in test_images has one value throughout; "),
    (
        relabelled("train", 1),
        "all 12 training images have the same class (train_labels is 1 throughout), so nothing can be learnt; ",
    ),
]


@pytest.mark.parametrize(("change", "line"), REFUSED)
def test_what_cannot_be_meant_is_refused_in_a_line_with_the_rows_and_leaves_nothing(tmp_path, change, line):
    content = clean("breastmnist")
    change(content)
    with pytest.raises(PipelineError) as refused:
        build(tmp_path, "breastmnist", content, allow_leakage=False)
    assert str(refused.value).startswith(f"{tmp_path / 'raw.npz'}: {line}")
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["raw.npz"]


@pytest.mark.parametrize("index", [2, 3, 4, 5])
def test_leakage_may_be_allowed_but_not_images_or_labels_that_say_nothing(tmp_path, index):
    content = clean("breastmnist")
    REFUSED[index][0](content)
    with pytest.raises(PipelineError):
        build(tmp_path, "breastmnist", content, allow_leakage=True)


def test_labels_of_several_columns_that_never_differ_are_refused(tmp_path):
    content = clean("chestmnist")
    content["train_labels"][:] = content["train_labels"][0]
    with pytest.raises(PipelineError, match=r"all 12 training images have the same labels .*0,1,0,1"):
        build(tmp_path, "chestmnist", content)


def test_a_single_training_image_is_no_dataset_in_one_class(tmp_path):
    content = clean("breastmnist")
    content |= {f"train_{kind}": content[f"train_{kind}"][:1] for kind in ("images", "labels")}
    assert build(tmp_path, "breastmnist", content) == ([{"kind": "absent", "split": "train", "classes": [1]}], [])


def test_constant_images_give_nothing_away_about_a_test(tmp_path):
    content = clean("breastmnist")
    for split in COUNTS:
        filled(split, [0, 1], 0)(content)
    training, test = build(tmp_path, "breastmnist", content, allow_leakage=False)
    assert {finding["kind"] for finding in training + test} == {"constant"}


def test_only_what_is_kept_of_a_split_counts(tmp_path):
    content = clean("breastmnist")
    kept = stratified_subset(content["train_labels"].astype(int), 4)
    dropped = sorted(set(range(12)) - set(kept))
    copied("test", [0], "train", dropped[:1])(content)
    assert build(tmp_path, "breastmnist", content, train_limit=4, allow_leakage=False) == ([], [])
    # Of those that are, the line names the rows of the file, not of what is kept.
    copied("test", [0], "train", kept[3:])(content)
    with pytest.raises(PipelineError, match=rf"\(test_images\[0\] is train_images\[{kept[3]}\]\)"):
        build(tmp_path, "breastmnist", content, train_limit=4, allow_leakage=False)


def test_the_official_file_is_not_refused_for_images_it_repeats(tmp_path, monkeypatch):
    content = clean("breastmnist")
    copied("test", [2], "train", [2])(content)
    np.savez(tmp_path / "raw.npz", **content)
    monkeypatch.setattr(official, "published", lambda *_: official.Published("", md5_file(tmp_path / "raw.npz")))
    _, test = build(tmp_path, "breastmnist", content, allow_leakage=False)
    assert test == [{"kind": "in_train", "split": "test", "images": 1}]


def test_patients_of_ones_own_data_that_were_seen_before_are_counted_in_the_images_used(tmp_path):
    content = clean("breastmnist")
    sizes = {split: len(content[f"{split}_images"]) for split in ("train", "val", "test")}
    for start, (split, n) in enumerate(sizes.items()):
        content[f"{split}_patients"] = np.arange(n) + 1000 * start
    content["val_patients"][:3] = 0, 0, -1
    content["test_patients"][:4] = -1, 1, 1001 + 5, 1001 + 6
    content["train_patients"][-1] = -1  # who is not known is nobody
    assert build(tmp_path, "breastmnist", content) == ([], [])
    training, test = build(tmp_path, "breastmnist", content, source="own")
    assert training == [{"kind": "patient_in_train", "split": "val", "images": 2}]
    assert test == [
        {"kind": "patient_in_train", "split": "test", "images": 1},
        {"kind": "patient_in_val", "split": "test", "images": 2},
    ]
    limited = build(tmp_path, "breastmnist", content, source="own", train_limit=4, eval_limit=4)
    assert sum(finding["images"] for part in limited for finding in part) < 5
    del content["val_patients"]
    assert build(tmp_path, "breastmnist", content, source="own") == ([], test[:1])


SENTENCES = [
    (Finding("patient_in_train", "test", 2), "2 of 1,200 test images are of patients of whom training images are too"),
    (Finding("patient_in_val", "test", 1), "1 of 1,200 test images is of patients of whom validation images are too"),
    (Finding("in_train", "test", 1), "1 of 1,200 test images is a training image too"),
    (Finding("in_val", "test", 1100), "1,100 of 1,200 test images are validation images too"),
    (Finding("repeated", "train", 1), "1 of 1,200 training images repeats an earlier one"),
    (Finding("repeated", "train", 2), "2 of 1,200 training images repeat an earlier one"),
    (Finding("constant", "val", 1), "1 of 1,200 validation images has one value throughout"),
    (Finding("constant", "val", 2), "2 of 1,200 validation images have one value throughout"),
    (
        Finding("dim", "train", 1200),
        "no value of the training images is above 1 of 255; were fractions cast to whole numbers?",
    ),
    (
        Finding("trained", "val", 1, of="octmnist"),
        "1 of 1,200 validation images is an image of octmnist that models are trained or chosen on",
    ),
    (
        Finding("trained", "test", 2, of="octmnist"),
        "2 of 1,200 test images are images of octmnist that models are trained or chosen on",
    ),
    (Finding("absent", "train", classes=(1,)), "no training image is “b”, which cannot be learnt"),
    (
        Finding("absent", "val", classes=(0, 2, 3, 4)),
        "no validation image is “a”, “c”, “d” or “e”, so that the validation AUC is undefined and left out of the mean "
        "over datasets",
    ),
    (
        Finding("absent", "test", classes=(0, 1, 2, 3, 4)),
        "no test image is “a”, “b”, “c” or 2 more, so that the test AUC is undefined and left out of the mean over "
        "datasets",
    ),
]


@pytest.mark.parametrize(("finding", "sentence"), SENTENCES)
def test_a_finding_is_said_in_a_sentence(finding, sentence):
    assert describe(finding, 1200, MEDMNIST["retinamnist"], "abcde") == sentence


def test_of_several_labels_those_are_named_that_all_images_answer_alike():
    sentence = describe(Finding("absent", "train", classes=(3, 0)), 9, MEDMNIST["chestmnist"], "abcd")
    assert sentence == "all training images have the same answer to “d” or “a”, which cannot be learnt"


def test_the_stage_warns_in_a_line_for_each_finding(tmp_path, monkeypatch, capsys):
    content, params = clean("breastmnist"), yaml.safe_load(PARAMS_FILE.read_text())
    copied("test", [3], "train", [3])(content)
    relabelled("val", 0)(content)
    params["data"] |= {"source": "mirror", "mirror": "mirror", "verify": False, "allow_leakage": True, "size_2d": 28}
    monkeypatch.chdir(tmp_path)
    PARAMS_FILE.write_text(yaml.safe_dump(params))
    RAW.mkdir(parents=True)
    np.savez(RAW / "breastmnist.npz", **content)
    for stage, *names in ((declare,), (cache, "breastmnist")):
        monkeypatch.setattr(sys, "argv", ["stage", *names])
        stage.main()
    assert capsys.readouterr().err.splitlines() == [
        "warning: breastmnist: no validation image is “normal, benign”, so that the validation AUC is undefined and "
        "left out of the mean over datasets",
        "warning: breastmnist: 1 of 6 test images is a training image too",
    ]
