"""A folder with a CSV, and one with a folder for each class: what they become, whole."""

import locale
import os
import shutil
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from mosaic_pipeline.data.own import build as building
from mosaic_pipeline.datasets import SPLITS
from mosaic_pipeline.errors import PipelineError


def rows_of(images, made):
    """Which split of `made` each image is in."""
    found = {}
    for split in SPLITS:
        for image in made[f"{split}_images"]:
            (row,) = np.flatnonzero((images == image).all(axis=tuple(range(1, images.ndim))))
            found[int(row)] = split
    return found


def test_every_image_is_there_once_with_its_label(pngs, built, declare):
    made = built(declare())
    splits = rows_of(pngs, made)
    assert len(splits) == 30
    for split in SPLITS:
        labels = [int(row % 3 == 0) for row in sorted(splits) if splits[row] == split]
        assert made[f"{split}_labels"][:, 0].tolist() == labels
    assert "PNG file: all 30." in made["notes"]
    assert "Split drawn by image, since nothing says which are of one patient, alike in all classes" in made["notes"]
    assert "train 21 images (14 + 7); val 3 images (2 + 1); test 6 images (4 + 2)" in made["notes"]


def test_images_that_are_enlarged_or_oblong_are_counted(pngs, place, built, declare):
    for index in range(10):
        Image.fromarray(np.tile(pngs[index], (2, 3))).save(place / "files" / f"{index:02}.png")
    notes = built(declare(fit="stretch"), size=12)["notes"]
    said = "sides of different length: 10 of 30, stretched, so that their proportions are others (fit: stretch)"
    assert f"From 8 x 8 to 16 x 24 pixels to 12 x 12; {said}; enlarged along a side: 20 of 30." in notes


def test_a_split_that_is_given_is_kept(pngs, place, built, declare, write_csv):
    given = ["training", "Valid", "TEST"]
    rows = [(f"{index:02}.png", index % 2, given[index % 3]) for index in range(30)]
    write_csv(place / "files" / "labels.csv", rows, ("file", "label", "split"))
    made = built(declare())
    assert rows_of(pngs, made) == {row: SPLITS[row % 3] for row in range(30)}
    assert "In labels.csv: split from the column split." in made["notes"]
    assert "Split as given: train" in made["notes"]


def test_columns_have_the_names_that_they_have(pngs, place, built, declare, write_csv):
    rows = [(index // 3, f"{index:02}.png", "x", index % 2) for index in range(30)]
    write_csv(place / "files" / "all.csv", rows, ("case", "image", "split", "diagnosis"))
    columns = {"file": "image", "label": "diagnosis", "patient": "case"}
    with pytest.raises(Exception, match=r"all.csv, line 2: split 'x' is none of train, val, test"):
        built(declare(csv="all.csv", columns=columns))
    write_csv(place / "files" / "all.csv", rows, ("case", "image", "age", "diagnosis"))
    splits = rows_of(pngs, built(declare(csv="all.csv", columns=columns)))
    assert all(splits[row] == splits[row // 3 * 3] for row in range(30))


def test_columns_that_are_not_meant_are_named_and_not_used(pngs, place, built, declare, write_csv):
    rows = [(f"{index:02}.png", index % 2, index // 3, "one") for index in range(30)]
    write_csv(place / "files" / "labels.csv", rows, ("file", "label", "PATIENT", "subject"))
    notes = built(declare())["notes"]
    assert "In labels.csv: patients from the column PATIENT. Columns that were not used: subject." in notes
    notes = built(declare(columns={"patient": ""}))["notes"]
    assert "Columns that were not used: PATIENT, subject." in notes
    assert "Split drawn by image, patients being left out" in notes
    notes = built(declare(columns={"patient": "PATIENT"}))["notes"]
    assert "of 7 patients" in notes


def test_of_many_unused_columns_a_few_are_named(pngs, place, built, declare, write_csv):
    rows = [(f"{index:02}.png", index % 2, *range(100)) for index in range(30)]
    write_csv(place / "files" / "labels.csv", rows, ("file", "label", *(f"x{index}" for index in range(100))))
    assert "were not used: x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11 and 88 more." in built(declare())["notes"]


@pytest.mark.parametrize("name", ["a:b.png", "a\\b.png", "C:\\c.png"])
def test_names_may_hold_what_other_systems_read_as_a_path(pngs, place, built, declare, write_csv, name):
    (place / "files" / "00.png").rename(place / "files" / name)
    write_csv(place / "files" / "labels.csv", [(f"{i:02}.png" if i else name, i % 2) for i in range(30)])
    assert len(rows_of(pngs, built(declare()))) == 30


@pytest.mark.parametrize("options", [{"encoding": "utf-8-sig"}, {"lineterminator": "\r\n"}, {"quoting": 1}])
def test_a_spreadsheets_csv_is_read(pngs, place, built, declare, write_csv, options):
    write_csv(place / "files" / "labels.csv", [(f"{index:02}.png", index % 2) for index in range(30)], **options)
    assert len(rows_of(pngs, built(declare()))) == 30


@pytest.mark.parametrize("cell", ["./{}.png", "{}.png ", "deep\\{}.png", "deep/{}.png"])
def test_paths_may_be_written_as_on_other_systems(pngs, place, built, declare, write_csv, cell):
    shutil.copytree(place / "files", place / "files" / "deep")
    rows = [(cell.format(f"{index:02}"), index % 2) for index in range(30)]
    write_csv(place / "files" / "labels.csv", rows)
    assert len(rows_of(pngs, built(declare()))) == 30


def test_several_labels_have_a_column_each(pngs, place, built, declare, write_csv):
    rows = [(f"{index:02}.png", f"{index % 2}.0", "true" if index % 3 else "false") for index in range(30)]
    write_csv(place / "files" / "labels.csv", rows, ("file", "mass", "edema"))
    made = built(declare(task="multi-label, binary-class", classes=["edema", "mass"]))
    labels = [[int(row % 3 > 0), row % 2] for row, split in sorted(rows_of(pngs, made).items()) if split == "train"]
    assert made["train_labels"].tolist() == labels
    assert "alike in all labels" in made["notes"]


@pytest.mark.parametrize("names", [("1", "0"), ("1.0", "0.0"), ("MALIGNANT", " benign ")])
def test_a_class_may_be_written_in_several_ways(pngs, place, built, declare, write_csv, names):
    expected = built(declare())["train_labels"]
    rows = [(f"{index:02}.png", names[index % 3 > 0]) for index in range(30)]
    write_csv(place / "files" / "labels.csv", rows)
    np.testing.assert_array_equal(built(declare())["train_labels"], expected)


def test_numbers_that_are_names_are_names(pngs, place, built, declare, write_csv):
    write_csv(place / "files" / "labels.csv", [(f"{index:02}.png", 1 + index % 2) for index in range(30)])
    np.savez(place / "files" / "mine.npz", images=pngs, labels=1.0 + np.arange(30) % 2)
    for kind in ({}, {"kind": "npz", "path": "files/mine.npz"}):
        made = built(declare(classes=["2", "1"], **kind))
        labels = [1 - row % 2 for row, split in sorted(rows_of(pngs, made).items()) if split == "train"]
        assert made["train_labels"][:, 0].tolist() == labels


def folders(place, images, name=lambda index: "malignant" if index % 3 == 0 else "benign"):
    for index, image in enumerate(images):
        file = place / "files" / name(index) / f"{index:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)


def test_a_folder_is_a_class(place, pixels, built, declare):
    images = pixels(30, 8, 8)
    folders(place, images)
    for left in (".DS_Store", "Thumbs.db", "__MACOSX"):
        (place / "files" / left).touch()
        (place / "files" / "benign" / left).touch()
    made = built(declare(kind="folders"))
    splits = rows_of(images, made)
    assert len(splits) == 30
    # By class, then by name within it.
    order = sorted((row for row in splits if splits[row] == "train"), key=lambda row: (row % 3 == 0, row))
    assert made["train_labels"][:, 0].tolist() == [int(row % 3 == 0) for row in order]


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "testing")])
def test_a_folder_may_be_a_split_with_classes_in_it(place, pixels, built, declare, names):
    images = pixels(30, 8, 8)
    folders(place, images, lambda index: f"{names[index % 3]}/{index % 2}")
    made = built(declare(kind="folders"))
    assert rows_of(images, made) == {row: SPLITS[row % 3] for row in range(30)}


def test_classes_may_be_called_like_splits(place, pixels, built, declare):
    images = pixels(30, 8, 8)
    folders(place, images, lambda index: "test" if index % 2 else "train")
    assert len(rows_of(images, built(declare(kind="folders", classes=["train", "test"])))) == 30


def test_links_are_followed(pngs, place, built, declare):
    (place / "files").rename(place / "elsewhere")
    (place / "files").symlink_to(place / "elsewhere")
    (place / "elsewhere" / "00.png").rename(place / "first.png")
    (place / "elsewhere" / "00.png").symlink_to(place / "first.png")
    assert len(rows_of(pngs, built(declare()))) == 30


def test_volumes_of_other_proportions_are_as_wide_as_in_space(place, built, declare, write_csv):
    import nibabel

    rng = np.random.default_rng(0)
    for index in range(12):
        volume = rng.integers(0, 900, (20, 20, 5), dtype=np.int16)
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.0, 1, 2, 1])), place / "files" / f"{index}.nii.gz")
    write_csv(place / "files" / "labels.csv", [(f"{index}.nii.gz", index % 2) for index in range(12)])
    made = built(declare(dimension=3, window=[0, 900]))
    assert made["train_images"].shape[1:] == (8, 8, 8)
    assert made["train_images"][:, 2:6].any(axis=(2, 3)).all()  # 10 of 20 mm
    assert not made["train_images"][:, [0, 1, 6, 7]].any()
    assert "From 5 x 20 x 20 voxels to 8 x 8 x 8; sides of different length in mm: all 12" in made["notes"]
    assert "all 12, padded with black (fit: pad)" in made["notes"]
    assert "Values 0 to 900 became 0 to 255 (window); some beyond, cut off: 0 of 12." in made["notes"]


def test_pictures_in_a_few_bits_of_many_are_refused_and_black_and_white_is_not(place, built, declare):
    def saved(images):
        labels = np.arange(len(images)) % 2
        np.savez(place / "files" / "mine.npz", images=images, labels=labels)
        return declare(kind="npz", path="files/mine.npz")

    sparse = np.zeros((30, 32, 32), bool)
    sparse[np.arange(30), np.arange(30), 0] = True
    assert built(saved(sparse), size=32)["train_images"].max() == 255
    fractions = np.linspace(0, 0.2, 30 * 32 * 32).reshape(30, 32, 32)
    with pytest.raises(PipelineError, match="51 of 256 grey levels would be left"):
        built(saved(fractions))
    assert built(saved(fractions * 2))["train_images"].max() > 99


def test_copies_of_an_image_are_drawn_into_one_split_whoever_has_them(pngs, place, built, declare, write_csv):
    for index in range(10):
        shutil.copy(place / "files" / f"{index:02}.png", place / "files" / f"{index + 20}.png")
    patients = [str(index) for index in range(30)]
    write_csv(
        place / "files" / "labels.csv",
        [(f"{index:02}.png", index % 2, patients[index]) for index in range(30)],
        ("file", "label", "patient"),
    )
    made = built(declare())
    of_image = {}
    for split in SPLITS:
        for image in made[f"{split}_images"]:
            of_image.setdefault(image.tobytes(), set()).add(split)
    assert len(of_image) == 20
    assert all(len(splits) == 1 for splits in of_image.values())
    assert "Copies of an earlier image: 10 of 30." in made["notes"]


def test_copies_with_other_labels_are_counted(pngs, place, built, declare, write_csv):
    shutil.copy(place / "files" / "00.png", place / "files" / "01.png")
    write_csv(place / "files" / "labels.csv", [(f"{index:02}.png", index % 2) for index in range(30)])
    assert "Images that are there with different labels: 1." in built(declare())["notes"]


def test_leakage_goes_on_where_it_is_allowed(pngs, place, built, declare, write_csv):
    rows = [(f"{index:02}.png", index % 2, SPLITS[index % 3], "one") for index in range(30)]
    write_csv(place / "files" / "labels.csv", rows, ("file", "label", "split", "patient"))
    own = declare(allow_leakage=True)
    made = built(own)
    assert rows_of(pngs, made) == {row: SPLITS[row % 3] for row in range(30)}
    assert "Patients that are in more than one split: 1 of 1 (allow_leakage)." in made["notes"]
    assert "train 10 images of 1 patient (5 + 5)" in made["notes"]
    assert "images that are in more" not in made["notes"]
    rows = [(*row[:3], f"p{index - index % 2}") for index, row in enumerate(rows[:12])]
    shutil.copy(place / "files" / "00.png", place / "files" / "02.png")
    write_csv(place / "files" / "labels.csv", rows, ("file", "label", "split", "patient"))
    notes = built(own)["notes"]
    assert "Patients that are in more than one split: 6 of 6 (allow_leakage)." in notes
    assert "Different images that are in more than one split: 1 of 11 (allow_leakage)." in notes


def test_constant_images_are_nobodys_copies(place, built, declare, write_csv):
    for index in range(30):
        Image.fromarray(np.full((8, 8), 7 * (index > 5), np.uint8)).save(place / "files" / f"{index}.png")
    rows = [(f"{index}.png", index % 2, SPLITS[index % 3]) for index in range(30)]
    write_csv(place / "files" / "labels.csv", rows, ("file", "label", "split"))
    built(declare())


def test_the_same_files_give_the_same_bytes_in_any_order_at_any_time(pngs, place, built, declare, monkeypatch):
    built(declare())
    first = (place / "raw" / "mine.npz").read_bytes()
    (place / "files").rename(place / "old")
    (place / "files").mkdir()
    for file in sorted((place / "old").iterdir(), reverse=True):
        shutil.copy(file, place / "files")
        os.utime(place / "files" / file.name, (1, 1))
    for name in ("C", "C.UTF-8"):
        locale.setlocale(locale.LC_ALL, name)
        built(declare())
        assert (place / "raw" / "mine.npz").read_bytes() == first
    folders(place, pngs)
    (place / "files" / "labels.csv").unlink()
    for file in (place / "files").glob("*.png"):
        file.unlink()
    built(declare(kind="folders"))
    first = (place / "raw" / "mine.npz").read_bytes()
    entries = type(place).iterdir
    monkeypatch.setattr(type(place), "iterdir", lambda self: reversed(sorted(entries(self))))
    built(declare(kind="folders"))
    assert (place / "raw" / "mine.npz").read_bytes() == first


def test_nothing_stays_behind_and_what_stood_there_stays_when_it_fails(pngs, place, built, declare):
    built(declare())
    before = (place / "raw" / "mine.npz").read_bytes()
    (place / "files" / "29.png").write_bytes(b"")
    with pytest.raises(Exception, match=r"29\.png"):
        built(declare())
    assert [file.name for file in (place / "raw").iterdir()] == ["mine.npz"]
    assert (place / "raw" / "mine.npz").read_bytes() == before


def test_memory_stays_at_one_image_however_many_there_are(place, pixels, declare, write_csv):
    for index in range(12):
        image = pixels(1, 600, 600, dtype=np.uint16, seed=index)[0]
        Image.fromarray(image).save(place / "files" / f"{index}.tif")
    write_csv(place / "files" / "labels.csv", [(f"{index}.tif", index % 2) for index in range(12)])
    tracemalloc.start()
    building.write_own(place / "raw" / "mine.npz", "mine", declare(), 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000  # of 8.6 MB; Pillow's own is not counted
