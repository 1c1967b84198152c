"""Each way in which a download can be wrong ends in one line that names the file, for `check` and for the import."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mosaic_pipeline.commands import check_scans as check
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.segmentation.data import nifti
from mosaic_pipeline.segmentation.data.check import check_folder
from mosaic_pipeline.segmentation.data.index import build_index
from mosaic_pipeline.segmentation.data.splits import draw_splits
from mosaic_pipeline.segmentation.datasets import NAMED

SHAPE = (6, 5, 4)
AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
ROOT = Path(__file__).parents[3]
BESIDE = ROOT.parent / "shared/scans"
SHARED = Path(os.environ.get("MOSAIC_REAL_SCANS", BESIDE))
DATASET = NAMED["msd_liver"]


def volume(dtype: type = np.int16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-100, 100, SHAPE).astype(dtype)


def label_map(dtype: type = np.uint8) -> np.ndarray:
    return (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 3).astype(dtype)


def save(path: Path, values: np.ndarray, affine: np.ndarray | None = AFFINE, **header: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, affine)
    for key, value in header.items():
        image.header[key] = value
    path.write_bytes(gzip.compress(image.to_bytes()) if path.name.endswith(".gz") else image.to_bytes())


@pytest.fixture
def folder(tmp_path) -> Path:
    """A download in order: three cases."""
    root = tmp_path / "download"
    for case in range(3):
        save(root / f"imagesTr/liver_{case}.nii.gz", volume(seed=case))
        save(root / f"labelsTr/liver_{case}.nii.gz", label_map())
    return root


IMAGE, LABELS = "imagesTr/liver_1.nii.gz", "labelsTr/liver_1.nii.gz"


def rewritten(file: str, values: np.ndarray, affine: np.ndarray | None = AFFINE, **header: object) -> Callable:
    return lambda folder: save(folder / file, values, affine, **header)


def replaced(file: str, contents: bytes) -> Callable:
    return lambda folder: (folder / file).write_bytes(contents)


def truncated(file: str, share: float, folder: Path) -> None:
    contents = (folder / file).read_bytes()
    (folder / file).write_bytes(contents[: int(len(contents) * share)])


def cut_after_unpacking(folder: Path) -> None:
    contents = gzip.decompress((folder / IMAGE).read_bytes())
    (folder / IMAGE).write_bytes(gzip.compress(contents[:-7]))


def flipped_bit(folder: Path) -> None:
    """A check sum at the end is all that tells: values are read without it."""
    contents = bytearray((folder / IMAGE).read_bytes())
    contents[-8] ^= 1
    (folder / IMAGE).write_bytes(contents)


def moved(source: str, target: str | None, folder: Path) -> None:
    if target is None:
        (folder / source).unlink()
    else:
        (folder / target).parent.mkdir(exist_ok=True)
        shutil.copy(folder / source, folder / target)


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def with_only(name: str, folder: Path) -> None:
    emptied(folder)
    (folder / name).write_bytes(b"x")


def one_level_up(folder: Path) -> None:
    moving = folder.rename(folder.with_name("moving"))
    folder.mkdir()
    moving.rename(folder / "Task03_Liver")


def becomes_folder(folder: Path) -> None:
    (folder / IMAGE).unlink()
    (folder / IMAGE).mkdir()


def with_json(listed: object, folder: Path) -> None:
    text = listed if isinstance(listed, str) else json.dumps(listed)
    (folder / "dataset.json").write_text(text)


def with_patients(text: str, folder: Path) -> None:
    (folder / "patients.csv").write_text(text)


def off(values: np.ndarray, value: float) -> np.ndarray:
    values[2, 2, 2] = value
    return values


def shifted() -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] = 0.01
    return affine


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"

# What is done to a download, what the line says, and the file that it names.
BAD = {
    "git lfs pointer": (replaced(IMAGE, LFS), "Git LFS pointer", IMAGE),
    "web page": (replaced(IMAGE, b"\n<!DOCTYPE html><html>Please log in</html>"), "a web page", IMAGE),
    "zip archive": (replaced(IMAGE, b"PK\x03\x04 and so on"), "a zip archive", IMAGE),
    "empty file": (replaced(IMAGE, b""), "empty, without a byte", IMAGE),
    "not compressed": (replaced(IMAGE, nibabel.Nifti1Image(volume(), AFFINE).to_bytes()), "not compressed", IMAGE),
    "compressed under a plain name": (
        lambda folder: (folder / IMAGE).rename(folder / IMAGE[:-3]),
        "compressed, which its name does not say; call it liver_1.nii.gz",
        IMAGE[:-3],
    ),
    "no nifti": (replaced(IMAGE, gzip.compress(b"\x00" * 4000)), "no NIfTI file", IMAGE),
    "truncated": (partial(truncated, IMAGE, 0.6), "truncated or damaged", IMAGE),
    "truncated label map": (partial(truncated, LABELS, 0.6), "truncated or damaged", LABELS),
    "truncated header": (
        replaced(IMAGE, gzip.compress(b"\x5c\x01\x00\x00" + b"\x00" * 90)),
        "truncated within its header",
        IMAGE,
    ),
    "cut before it was packed": (cut_after_unpacking, "truncated: fewer voxels", IMAGE),
    "check sum": (flipped_bit, "truncated or damaged (CRC check failed", IMAGE),
    "several volumes": (rewritten(IMAGE, np.zeros((*SHAPE, 2), np.int16)), "several images, 6 x 5 x 4 x 2", IMAGE),
    "flat": (rewritten(IMAGE, volume()[:, :, 0]), "flat, 6 x 5", IMAGE),
    "flat label map": (rewritten(LABELS, label_map()[:, :1]), "flat, 6 x 1 x 4", LABELS),
    "no voxel in its header": (rewritten(IMAGE, np.zeros((6, 5, 0), np.int16)), "says 6 x 5 x 0 voxels", IMAGE),
    "colours": (rewritten(IMAGE, np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])), "colours, not grey", IMAGE),
    "complex": (rewritten(IMAGE, volume(np.complex64)), "complex64, not grey", IMAGE),
    "other shape": (rewritten(LABELS, label_map()[:, :, :3]), "6 x 5 x 3 voxels, but its image has 6 x 5 x 4", LABELS),
    "elsewhere": (rewritten(LABELS, label_map(), shifted()), "lies elsewhere", LABELS),
    "nan": (rewritten(IMAGE, off(volume(np.float32), np.nan)), "no number (NaN or infinite): 1", IMAGE),
    "infinite": (rewritten(IMAGE, off(volume(np.float32), np.inf)), "no number (NaN or infinite): 1", IMAGE),
    "beyond float32": (rewritten(IMAGE, off(volume(np.float64), 1e300)), "no number", IMAGE),
    "constant": (rewritten(IMAGE, np.zeros(SHAPE, np.int16)), "all its voxels are 0", IMAGE),
    "fractional labels": (rewritten(LABELS, off(label_map(np.float32), 0.5)), "labels between whole numbers", LABELS),
    "nan labels": (rewritten(LABELS, off(label_map(np.float32), np.nan)), "no number (NaN or infinite): 1", LABELS),
    "unknown label": (
        rewritten(LABELS, off(label_map(), 7)),
        "label 7 is none of msd_liver's, which are 1 liver, 2 liver tumour",
        LABELS,
    ),
    "negative label": (rewritten(LABELS, off(label_map(np.int16), -1)), "label -1 is negative", LABELS),
    "background alone": (rewritten(LABELS, np.zeros(SHAPE, np.uint8)), "all of it is background", LABELS),
    "affine of zeros": (
        rewritten(IMAGE, volume(), None, sform_code=1, qform_code=0, srow_x=0, srow_y=0, srow_z=0),
        "its affine spans no space",
        IMAGE,
    ),
    "affine not finite": (
        rewritten(IMAGE, volume(), None, sform_code=1, qform_code=0, srow_x=np.nan, srow_y=1, srow_z=1),
        "its affine spans no space",
        IMAGE,
    ),
    "axes in one plane": (
        rewritten(IMAGE, volume(), None, sform_code=1, srow_x=[1, 0, 1, 0], srow_y=[0, 1, 1, 0], srow_z=0),
        "its affine spans no space",
        IMAGE,
    ),
    "image without labels": (partial(moved, LABELS, None), "an image without a label map", IMAGE),
    "labels without image": (partial(moved, IMAGE, None), "a label map without an image", LABELS),
    "image twice": (partial(moved, IMAGE, IMAGE[:-3]), "liver_1: 2 images of one case", "liver_1"),
    "label map twice": (partial(moved, LABELS, LABELS[:-3]), "liver_1: 2 label maps of one case", "liver_1"),
    "a folder for a file": (becomes_folder, "a folder, not a file", IMAGE),
    "no such folder": (shutil.rmtree, "no such folder", ""),
    "empty folder": (emptied, "an empty folder", ""),
    "archive": (partial(with_only, "Task03_Liver.tar"), "holds Task03_Liver.tar; unpack that", ""),
    "dicom": (partial(with_only, "1.dcm"), "holds DICOM files; convert them to NIfTI", ""),
    "one folder for both": (partial(with_only, "liver_1.nii.gz"), "scans and label maps in one folder", ""),
    "other folders": (partial(with_only, "notes.txt"), "no folders images/ and labels/", ""),
    "the folder above": (one_level_up, "say {folder}/Task03_Liver", ""),
    "no folder of labels": (
        lambda folder: shutil.rmtree(folder / "labelsTr"),
        "no folder labelsTr beside imagesTr",
        "",
    ),
    "no folder of images": (
        lambda folder: shutil.rmtree(folder / "imagesTr"),
        "no folder imagesTr beside labelsTr",
        "",
    ),
    "listed, not there": (
        partial(with_json, {"labels": {}, "training": [{"image": "./imagesTr/liver_9.nii.gz", "label": "x"}]}),
        "./imagesTr/liver_9.nii.gz: dataset.json lists it, but it is not there",
        "liver_9",
    ),
    "no json": (partial(with_json, "{"), "dataset.json: not valid JSON", "dataset.json"),
    "patients without a case": (partial(with_patients, "case,patient\nliver_0,a\n"), "no patient for liver_1", ""),
    "no table": (partial(with_patients, "case;patient\n"), "separated by semicolons", "patients.csv"),
}


def lines(folder: Path) -> tuple[str, ...]:
    return check_folder(folder, DATASET).problems


def index(folder: Path) -> dict:
    return build_index(folder, DATASET, partial(draw_splits, test=0.3, val=0.3, seed=0, name="x"), source="folder")


def test_a_download_in_order_has_no_line(folder):
    assert lines(folder) == ()
    assert len(index(folder)["cases"]) == 3


@pytest.mark.parametrize("way", BAD)
def test_one_line_names_what_is_wrong(folder, way):
    spoil, said, named = BAD[way]
    spoil(folder)
    (line,) = lines(folder)
    assert said.format(folder=folder) in line
    assert named in line
    assert "\n" not in line
    # The import says the same, of the first thing that is wrong, and has no index then.
    with pytest.raises(PipelineError) as error:
        index(folder)
    assert str(error.value) == line


def test_a_file_that_may_not_be_read_is_named(folder, monkeypatch):
    def no_rights(path: Path, *mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(nifti, "open", no_rights, raising=False)
    assert len(lines(folder)) == 3
    assert lines(folder)[0].startswith(f"{folder / 'imagesTr/liver_0.nii.gz'}: permission denied")


def test_a_folder_that_may_not_be_read_is_named(folder, monkeypatch):
    def no_rights(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", no_rights)
    assert lines(folder) == (f"{folder}: permission denied; `ls -ld` shows who may read it",)


def test_everything_that_is_wrong_is_listed(folder):
    for way in ("several volumes", "labels without image"):
        BAD[way][0](folder)
    save(folder / "labelsTr/liver_0.nii.gz", off(label_map(), 9))
    save(folder / "imagesTr/liver_7.nii.gz", volume())
    assert [line.partition(":")[0].removeprefix(f"{folder}/") for line in lines(folder)] == [
        "labelsTr/liver_1.nii.gz",
        "imagesTr/liver_7.nii.gz",
        "labelsTr/liver_0.nii.gz",
    ]
    with pytest.raises(PipelineError, match=r"liver_1\.nii\.gz: .* \(and 1 more; `mosaic check-scans"):
        index(folder)


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ({"train": ["liver_0"], "val": ["liver_1"]}, "msd_liver: liver_2 in no split"),
        ({"train": ["liver_0"], "val": ["liver_1"], "test": ["liver_2", "liver_3"]}, "liver_3: no case of msd_liver"),
    ],
)
def test_splits_are_held_against_the_folder(folder, tmp_path, splits, said):
    file = tmp_path / "splits.json"
    file.write_text(json.dumps(splits))
    (line,) = check_folder(folder, DATASET, file).problems
    assert line.startswith(f"{file}: {said}")


def run(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["check", *map(str, arguments)])
    check.main()


def test_the_command_prints_a_line_for_each_and_ends_with_an_error(folder, monkeypatch, capsys):
    run(monkeypatch, folder, "--dataset", "msd_liver")
    out = capsys.readouterr().out
    assert "3 of 3 cases in order" in out
    assert "6 x 5 x 4 voxels of 1 x 1 x 3 mm" in out
    BAD["nan"][0](folder)
    BAD["unknown label"][0](folder)
    moved("imagesTr/liver_0.nii.gz", None, folder)
    with pytest.raises(PipelineError, match="2 things are wrong"):
        run(monkeypatch, folder, "--dataset", "msd_liver")
    assert "1 of 2 cases in order" in capsys.readouterr().out
    with pytest.raises(PipelineError, match="nix: no set of that name; known are flare22, "):
        run(monkeypatch, folder, "--dataset", "nix")


def test_a_check_and_an_import_start_without_torch():
    modules = "mosaic_pipeline.commands.check_scans, mosaic_pipeline.segmentation.data.index"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_without_a_set_any_ids_will_do_and_are_counted(folder, monkeypatch, capsys):
    save(folder / LABELS, off(label_map(), 7))
    run(monkeypatch, folder)
    assert "labels: 1, 2, 7; not in every case: 7 1" in capsys.readouterr().out
    save(folder / LABELS, off(label_map(np.int16), -1))
    (line,) = check_folder(folder).problems
    assert line.endswith("label -1 is negative; background is 0")


def test_what_is_only_odd_is_said_and_accepted(folder, monkeypatch, capsys):
    save(folder / LABELS, label_map(np.float32))
    save(folder / "imagesTr/liver_2.nii.gz", volume(np.uint8))
    run(monkeypatch, folder, "--dataset", "msd_liver")
    out = capsys.readouterr().out
    assert "liver_1: labels stored as floats." in out
    assert "liver_2: no value below 0, so perhaps no Hounsfield units." in out


@pytest.mark.skipif(not SHARED.exists(), reason=f"no {SHARED}, and MOSAIC_REAL_SCANS names no other")
def test_of_a_real_download_the_three_broken_files_are_named(tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        for file in sorted((SHARED / "hippocampus_mr" / kind).iterdir())[:4]:
            (tmp_path / kind / file.name).symlink_to(file)
    broken = SHARED / "broken"
    (tmp_path / "images/hippocampus_118.nii.gz").symlink_to(broken / "image_without_label.nii.gz")
    for number in ("010", "281"):
        (tmp_path / f"labels/hippocampus_{number}.nii.gz").symlink_to(broken / f"label_without_image_{number}.nii.gz")
    assert [line.partition(";")[0] for line in check_folder(tmp_path, NAMED["msd_hippocampus"]).problems] == [
        "labels/hippocampus_010.nii.gz: a label map without an image",
        "images/hippocampus_118.nii.gz: an image without a label map",
        "labels/hippocampus_281.nii.gz: a label map without an image",
    ]
