"""Predicting files and folders: every kind of file, what cannot be read, and going on after an interruption."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from finished import run_stage
from PIL import Image

from mosaic_pipeline.bundle import Bundle, load_bundle
from mosaic_pipeline.bundle.manifest import Preparation
from mosaic_pipeline.data.own.picture import Picture
from mosaic_pipeline.prediction.run import prepare

SETS = ("retinamnist", "breastmnist")


@pytest.fixture(scope="module")
def bundle(finished: Path):
    return load_bundle(finished / "bundles/mosaic-42", "cpu")


@pytest.fixture
def predict(finished, tmp_path):
    """Run `mosaic predict` on a place beside the table, and return how it ended and its rows."""

    def run(place: str, dataset: str, *options: str, out: str = "out.csv"):
        command = f"mosaic predict {finished / 'bundles/mosaic-42'} {place} --dataset {dataset} -o {out} --device cpu"
        ended = run_stage(tmp_path, " ".join([command, *options]))
        assert not ended.traceback, ended.traceback
        return ended, rows(tmp_path / out) if (tmp_path / out).exists() else []

    return run


def rows(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.open(newline="")))


def scores(found: list[dict[str, str]]) -> np.ndarray:
    return np.array([[float(value) for key, value in row.items() if key.startswith("p: ")] for row in found])


def images(finished: Path, dataset: str) -> np.ndarray:
    return np.load(finished / f"data/cached/test/{dataset}/test_images.npy")


def of_the_test(finished: Path, specialist: str, dataset: str) -> np.ndarray:
    return np.load(finished / f"evaluation/mosaic/42/{specialist}.npz")[f"{dataset}/scores"]


@pytest.fixture
def pngs(finished, tmp_path):
    """The test images of RetinaMNIST, a PNG each."""
    folder = tmp_path / "pngs"
    folder.mkdir()
    for row, image in enumerate(images(finished, "retinamnist")):
        Image.fromarray(image).save(folder / f"{row}.png")
    return folder


def test_probabilities_of_files_are_those_of_the_test_and_rows_lead_back_to_the_model(finished, pngs, predict, bundle):
    ended, found = predict("pngs", "retinamnist")
    assert ended.status == 0, ended.stderr
    assert [row["file"] for row in found] == [f"{row}.png" for row in range(7)]
    np.testing.assert_allclose(scores(found), of_the_test(finished, "A", "retinamnist"), rtol=0, atol=1e-6)
    best = scores(found).argmax(axis=1)
    names = bundle.known("retinamnist").class_names
    assert [row["predicted"] for row in found] == [names[index] for index in best]
    assert [float(row["probability"]) for row in found] == scores(found).max(axis=1).tolist()
    assert {row["model"] for row in found} == {bundle.manifest.provenance.md5["model"]}


def test_an_npz_gives_a_row_for_each_image_of_its_arrays(finished, predict):
    npz = finished / "data/raw/nodulemnist3d.npz"
    _, found = predict(str(npz), "nodulemnist3d", "--array test_images", "--batch-size 3")
    assert [row["item"] for row in found] == [f"test_images[{row}]" for row in range(7)]
    np.testing.assert_allclose(scores(found), of_the_test(finished, "C", "nodulemnist3d"), rtol=0, atol=1e-6)
    ended, found = predict(str(npz), "nodulemnist3d", out="all.csv")
    assert ended.status == 0
    assert len(found) == 8 + 6 + 7  # of training, validation and test


def test_every_kind_of_file_of_the_same_values_has_the_same_answer(finished, tmp_path, predict):
    import nibabel

    folder = tmp_path / "kinds"
    (folder / "below").mkdir(parents=True)
    image = images(finished, "breastmnist")[0]
    Image.fromarray(image).save(folder / "a.png")
    Image.fromarray(image).save(folder / "b.tif")
    Image.fromarray(image).save(folder / "below/c.bmp")
    np.save(folder / "d.npy", image)
    Image.fromarray(image.astype(np.uint16) * 257).save(folder / "e.png")  # 16 bits
    np.savez(folder / "f.npz", images=image[None])
    (folder / ".hidden.png").write_bytes(b"nothing")
    (folder / "notes.txt").write_text("no image")
    ended, found = predict("kinds", "breastmnist")
    assert ended.status == 0, ended.stderr
    assert [row["file"] for row in found] == ["a.png", "b.tif", "below/c.bmp", "d.npy", "e.png", "f.npz"]
    assert "1 file passed over, by name no image: notes.txt" in ended.stdout
    expected = of_the_test(finished, "B", "breastmnist")[:1]
    np.testing.assert_allclose(scores(found), np.repeat(expected, 6, axis=0), rtol=0, atol=1e-6)

    volume = images(finished, "nodulemnist3d")[0]
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    np.save(volumes / "a.npy", volume)
    # Slices first is [z, y, x]; NIfTI has [x, y, z].
    nibabel.save(nibabel.Nifti1Image(volume.transpose(2, 1, 0), np.eye(4)), volumes / "b.nii.gz")
    pages = [Image.fromarray(page) for page in volume]
    pages[0].save(volumes / "c.tiff", save_all=True, append_images=pages[1:])
    _, found = predict("volumes", "nodulemnist3d", out="volumes.csv")
    np.testing.assert_allclose(
        scores(found), np.repeat(of_the_test(finished, "C", "nodulemnist3d")[:1], 3, axis=0), rtol=0, atol=1e-6
    )


def dicom(path: Path, pixels: np.ndarray, **values) -> None:
    """Write pixels [H,W] or frames [N,H,W] of 16 bits as a DICOM file."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.SeriesInstanceUID = values.pop("series", "1.2.3")
    if pixels.ndim == 3:
        file.NumberOfFrames = len(pixels)
    file.Rows, file.Columns = pixels.shape[-2:]
    file.SamplesPerPixel, file.BitsAllocated, file.BitsStored, file.HighBit = 1, 16, 16, 15
    file.PixelRepresentation, file.PhotometricInterpretation = 0, "MONOCHROME2"
    for name, value in values.items():
        setattr(file, name, value)
    file.PixelData = pixels.astype("<u2").tobytes()
    file.save_as(path, enforce_file_format=True)


def test_dicom_of_an_image_of_frames_and_of_a_series(finished, tmp_path, predict):
    image, volume = images(finished, "breastmnist")[0], images(finished, "nodulemnist3d")[0]
    folder = tmp_path / "dicoms"
    folder.mkdir()
    dicom(folder / "grey.dcm", image * np.uint16(257))
    # Largest is black, and stored values are half of what the scale of the file says.
    dicom(folder / "inverted.dcm", (255 - image) * np.uint16(257), PhotometricInterpretation="MONOCHROME1")
    dicom(folder / "scaled.dcm", image.astype(np.uint16), RescaleSlope="2", RescaleIntercept="-10")
    ended, found = predict("dicoms", "breastmnist")
    assert [row["file"] for row in found] == ["grey.dcm", "inverted.dcm", "scaled.dcm"]
    expected = of_the_test(finished, "B", "breastmnist")[0]
    np.testing.assert_allclose(scores(found[:2]), [expected, expected], rtol=0, atol=1e-6)
    assert ended.status == 2  # values of a scanner have no black and white
    assert "window" in found[2]["error"]
    ended, found = predict("dicoms/scaled.dcm", "breastmnist", "--window=-10,500", out="scaled.csv")
    assert ended.status == 0, ended.stderr
    np.testing.assert_allclose(scores(found)[0], expected, rtol=0, atol=1e-6)

    (tmp_path / "volumes/series").mkdir(parents=True)
    (tmp_path / "volumes/frames").mkdir()
    for number, page in enumerate(volume):
        # Slices ascend from feet to head, against their names.
        place = {"ImagePositionPatient": [0, 0, number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        name = f"volumes/series/{99 - number}.dcm"
        dicom(tmp_path / name, page[::-1, ::1] * np.uint16(257), PixelSpacing=[1, 1], **place)
    dicom(tmp_path / "volumes/frames/all.dcm", volume * np.uint16(257))
    ended, found = predict("volumes", "nodulemnist3d", out="volumes.csv")
    assert ended.status == 0, ended.stderr
    assert [row["file"] for row in found] == ["frames/all.dcm", "series"]
    assert len(found) == 2


def test_what_cannot_be_read_is_a_row_and_the_others_are_done(pngs, predict, tmp_path):
    (pngs / "3.png").write_bytes(b"nonsense")
    Image.fromarray(np.zeros((20, 20, 4), np.uint8)).save(pngs / "4.png")
    np.savez(pngs / "x.npz", labels=np.zeros(3))
    ended, found = predict("pngs", "retinamnist")
    assert ended.status == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: out.csv: 3 of 8 could not be predicted (column `error`); the first: 3.png: no image")
    errors = {row["file"]: row["error"] for row in found if row["error"]}
    assert set(errors) == {"3.png", "4.png", "x.npz"}
    assert "transparent" in errors["4.png"]
    assert "no array in it is called images" in errors["x.npz"]
    assert all(row["predicted"] == "" for row in found if row["error"])
    assert len([row for row in found if row["predicted"]]) == 5


def test_it_goes_on_where_it_stopped_and_tries_again_what_failed(pngs, predict, tmp_path, monkeypatch):
    (pngs / "1.png").write_bytes(b"nonsense")
    (pngs / "3.png").rename(pngs / "3,0.png")  # a name that is quoted in a table
    _, before = predict("pngs", "retinamnist")
    journal = tmp_path / ".out.csv.partial"
    lines = (tmp_path / "out.csv").read_text().splitlines(keepends=True)
    (tmp_path / "out.csv").unlink()
    # Killed while the fourth row was written.
    journal.write_text("".join(lines[:4]) + lines[4][:4])
    Image.fromarray(np.full((28, 28, 3), 100, np.uint8)).save(pngs / "1.png")

    asked, whole = [], Bundle.predict

    def watched(self, images, *arguments, **more):
        asked.append(len(images))
        return whole(self, images, *arguments, **more)

    monkeypatch.setattr(Bundle, "predict", watched)
    ended, found = predict("pngs", "retinamnist")
    assert ended.status == 0, ended.stderr
    assert sum(asked) == 5
    assert "7 predicted as retinamnist, 2 of them before" in ended.stdout
    assert [row for row in found if row["file"] != "1.png"] == [row for row in before if row["file"] != "1.png"]
    assert not journal.exists()
    asked.clear()
    predict("pngs", "retinamnist")
    assert asked == []


def test_a_killed_run_leaves_its_rows_but_no_table(pngs, predict, tmp_path, monkeypatch):
    whole, calls = Bundle.predict, []

    def interrupted(self, *arguments, **more):
        calls.append(1)
        if len(calls) == 3:
            assert len(rows(tmp_path / ".out.csv.partial")) == 4  # whatever ends the process now
            raise KeyboardInterrupt
        return whole(self, *arguments, **more)

    monkeypatch.setattr(Bundle, "predict", interrupted)
    ended, _ = predict("pngs", "retinamnist", "--batch-size 2")
    assert ended.status == 130
    assert not (tmp_path / "out.csv").exists()
    assert len(rows(tmp_path / ".out.csv.partial")) == 4


def test_auto_proposes_a_dataset_for_each_image_and_answers_as_if_it_had_been_named(finished, pngs, predict, tmp_path):
    for row, image in enumerate(images(finished, "breastmnist")):
        Image.fromarray(image).save(pngs / f"grey{row}.png")
    Image.fromarray((255 * (np.indices((28, 28, 3)).sum(axis=0) % 2)).astype(np.uint8)).save(pngs / "chequered.png")
    ended, found = predict("pngs", "auto")
    assert ended.status == 2  # there is one of none
    by_file = {row["file"]: row for row in found}
    assert len(by_file) == 7 + 7 + 1
    none = by_file.pop("chequered.png")
    assert (none["dataset"], none["predicted"], none["probabilities"]) == ("", "", "")
    assert none["error"].startswith("of none of the datasets: ")
    assert float(none["distance"]) > float(none["limit"])
    told = {name: {row["file"]: row for row in predict("pngs", name, out=f"{name}.csv")[1]} for name in SETS}
    answered = {file: row for file, row in by_file.items() if row["dataset"]}
    assert {row["dataset"] for row in answered.values()} == set(SETS)
    for file, row in answered.items():
        assert float(row["distance"]) <= float(row["limit"])
        named = told[row["dataset"]][file]
        probabilities = {key.removeprefix("p: "): float(value) for key, value in named.items() if key.startswith("p: ")}
        assert json.loads(row["probabilities"]) == pytest.approx(probabilities, abs=1e-6)
        assert (row["predicted"], row["model"]) == (named["predicted"], named["model"])
    # A colour image cannot be of a grey dataset, whatever it is near to.
    assert {row["dataset"] for file, row in answered.items() if not file.startswith("grey")} == {"retinamnist"}


def test_auto_knows_volumes_by_their_shape_and_goes_on_where_it_stopped(finished, predict, tmp_path):
    np.savez(tmp_path / "volumes.npz", images=images(finished, "nodulemnist3d"))
    ended, found = predict("volumes.npz", "auto")
    done = [row for row in found if not row["error"]]
    assert {row["dataset"] for row in done} == {"nodulemnist3d"}
    assert len(found) == 7
    again, same = predict("volumes.npz", "auto")
    assert same == found
    assert f"{len(done)} of them before" in again.stdout
    assert ended.status == again.status


def test_auto_of_what_cannot_be_read_is_a_sentence(predict, tmp_path):
    (tmp_path / "words.png").write_text("no image")
    ended, _ = predict("words.png", "auto")
    assert "words.png: nothing in it can be read as an image that this bundle knows" in ended.stderr
    ended, _ = predict("nowhere", "auto")
    assert "nowhere: no such file or folder" in ended.stderr


def test_another_table_is_not_overwritten(pngs, predict, tmp_path):
    (tmp_path / "out.csv").write_text("a,b\n1,2\n")
    ended, _ = predict("pngs", "retinamnist")
    assert ended.status == 2
    assert "error: out.csv: is there already" in ended.stderr
    assert (tmp_path / "out.csv").read_text() == "a,b\n1,2\n"


def test_an_answer_is_of_these_bytes_prepared_in_this_way(pngs, predict, tmp_path, finished):
    _, before = predict("pngs", "retinamnist")
    other = images(finished, "retinamnist")[5]
    Image.fromarray(other).save(pngs / "2.png")  # another image of the same name
    ended, found = predict("pngs", "retinamnist")
    assert "7 predicted as retinamnist, 6 of them before" in ended.stdout
    assert [old["file"] for old, new in zip(before, found, strict=True) if old != new] == ["2.png"]
    np.testing.assert_allclose(scores(found)[2], scores(before)[5], rtol=0, atol=1e-6)
    ended, darker = predict("pngs", "retinamnist", "--window=0,400")
    assert "7 predicted as retinamnist\n" in ended.stdout
    assert {row["prepared"] for row in darker} == {"28, pad, 0 to 400"}
    assert (scores(darker) != scores(found)).any()


def test_the_table_of_another_folder_is_not_taken_for_this_one(pngs, predict, tmp_path):
    predict("pngs", "retinamnist")
    before = (tmp_path / "out.csv").read_text()
    (tmp_path / "fewer").mkdir()
    shutil.copy(pngs / "1.png", tmp_path / "fewer/1.png")
    ended, _ = predict("fewer", "retinamnist")
    assert ended.status == 2
    assert "error: out.csv: is there already, with rows of files that are not here, such as 0.png" in ended.stderr
    assert (tmp_path / "out.csv").read_text() == before


def test_what_a_folder_may_hold_beside_images_loses_none_without_a_word(pngs, predict, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(pngs / "0.png", tmp_path / "elsewhere/x.png")
    (pngs / "linked").symlink_to(tmp_path / "elsewhere")
    (pngs / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (pngs / "a\rb.png").write_bytes((pngs / "1.png").read_bytes())
    Path(os.fsdecode(os.fsencode(pngs) + b"/\xff.png")).write_bytes((pngs / "1.png").read_bytes())
    np.savez(pngs / "none.npz", images=np.zeros((0, 28, 28, 3), np.uint8))
    ended, found = predict("pngs", "retinamnist")
    assert ended.status == 2
    assert {row["file"]: row["error"] for row in found if row["error"]} == {
        "gone.png": "no such file",
        "none.npz": "images holds no image",
    }
    assert {"a\\rb.png", "\\udcff.png"} < {row["file"] for row in found}
    assert "1 file passed over, by name no image: linked/" in ended.stdout


def test_an_image_that_is_as_stored_already_stays_so_and_others_are_padded_or_cut():
    preparation = Preparation(dimension=2, channels=1, size=28)
    stored = np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)
    assert (prepare(Picture(stored, (1.0, 1.0), (0, 255)), preparation) == stored).all()
    wide = np.full((28, 56), 200, np.uint8)
    padded = prepare(Picture(wide, (1.0, 1.0), (0, 255)), preparation)
    assert (padded[7:21] == 200).all()
    assert not padded[:7].any()
    cut = prepare(Picture(wide, (1.0, 1.0), (0, 255)), preparation.model_copy(update={"fit": "crop"}))
    assert (cut == 200).all()


def test_grey_levels_that_would_be_lost_are_refused():
    twelve = Picture(np.full((28, 28), 4000, np.uint16) - np.arange(28, dtype=np.uint16), (1.0, 1.0), (0, 65535))
    with pytest.raises(ValueError, match="grey levels would be left"):
        prepare(twelve, Preparation(dimension=2, channels=1, size=28))
