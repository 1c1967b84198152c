"""Files that are not what was declared, a table: each is one line that names the dataset, the file and its row."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mosaic_pipeline.errors import PipelineError

HERE = "data.own.mine: files: "


@dataclass(frozen=True)
class Refused:
    """What is wrong with a folder of thirty PNG files and its CSV, and the parts that its line must hold."""

    name: str
    damage: Callable[[Path], object]
    says: tuple[str, ...]
    declared: dict = field(default_factory=dict)


def rows(change: Callable[[list[list[str]]], object], header: str = "file,label") -> Callable[[Path], None]:
    """Other cells of the CSV, a row for each of the thirty files."""

    def damage(files: Path) -> None:
        cells = [[f"{index:02}.png", ("benign", "malignant")[index % 3 == 0]] for index in range(30)]
        change(cells)
        (files / "labels.csv").write_text("\n".join([header, *(",".join(row) for row in cells)]) + "\n")

    return damage


def text(content: str | bytes) -> Callable[[Path], object]:
    """Another CSV."""
    content = content.encode() if isinstance(content, str) else content
    return lambda files: (files / "labels.csv").write_bytes(content)


def cell(row: int, column: int, value: str) -> Callable[[Path], None]:
    """One other cell."""
    return rows(lambda cells: cells[row].__setitem__(column, value))


def added(header: str, of_row: Callable[[int], str]) -> Callable[[Path], None]:
    """One column more."""
    return rows(lambda cells: [row.append(of_row(index)) for index, row in enumerate(cells)], f"file,label,{header}")


def image(make: Callable[[np.ndarray], Image.Image], name: str = "07.png", **options) -> Callable[[Path], object]:
    """Another image in place of the eighth."""

    def damage(files: Path) -> None:
        pixels = np.asarray(Image.open(files / "07.png")).copy()
        (files / "07.png").unlink()
        make(pixels).save(files / name, format=options.pop("format", "PNG"), **options)

    return damage


def cut(files: Path) -> None:
    big = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(big).save(files / "07.png", format="JPEG")
    content = (files / "07.png").read_bytes()
    (files / "07.png").write_bytes(content[: len(content) // 2])


def twice(one: str, other: str) -> Callable[[Path], object]:
    return lambda files: (files / other).write_bytes((files / one).read_bytes())


def both(*damages: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda files: [damage(files) for damage in damages]


def bomb(files: Path) -> None:
    content = bytearray((files / "07.png").read_bytes())
    content[16:24] = struct.pack(">II", 30_000, 30_000)  # of the header, which has a check sum
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (files / "07.png").write_bytes(content)


def deep(highest: int, hot: bool = False) -> Callable[[Path], None]:
    """Images of 16 bits from 0 to `highest`, or one of them with a pixel of 65535."""

    def damage(files: Path) -> None:
        for index, file in enumerate(files.glob("*.png")):
            ramp = np.linspace(0, highest, 32 * 32).reshape(32, 32).astype(np.uint16)
            ramp[1, index] = highest
            ramp[3, 3] = 65535 if hot and not index else ramp[3, 3]
            Image.fromarray(ramp).save(file)

    return damage


def some_deep(files: Path) -> None:
    for index in range(10):
        file = files / f"{index:02}.png"
        Image.fromarray(np.asarray(Image.open(file)).astype(np.uint16) * 257).save(file)


IN_ROW = "labels.csv, line 9: "
SPLIT = added("split", lambda index: ("train", "val", "test")[index % 3])
PATIENTS = added("split,patient", lambda index: f"{('train', 'val', 'test')[index % 3]},p{index // 3}")

CSV = [
    Refused("no such folder", lambda files: files.rename(files.parent / "moved"), (HERE, "no such file")),
    Refused(
        "a file in place of the folder",
        lambda files: (files.rename(files.parent / "moved"), files.touch()),
        (HERE, "a file, but kind is csv, which is a folder"),
    ),
    Refused(
        "no CSV", lambda files: (files / "labels.csv").unlink(), ("files/labels.csv: no such file", "data.own.mine")
    ),
    Refused(
        "a folder called like the CSV",
        lambda files: ((files / "labels.csv").unlink(), (files / "labels.csv").mkdir()),
        ("files/labels.csv: a folder, not a file",),
    ),
    Refused("an empty CSV", text(""), ("labels.csv: empty, without a header", "data.own.mine.columns")),
    Refused("a header alone", text("file,label\n"), (HERE, "labels.csv has no row below its header")),
    Refused(
        "no column of that name",
        text("image,label\na,0\n"),
        ("labels.csv: no column file among image, label", "data.own.mine.columns"),
    ),
    Refused(
        "no column of patients",
        lambda files: None,
        ("labels.csv: no column case",),
        {"columns": {"patient": "case"}},
    ),
    Refused("a column twice", text("file,label,label\na,0,1\n"), ("column label is there twice",)),
    Refused("semicolons", text("file;label\n00.png;0\n"), ("separated by semicolons, not by commas",)),
    Refused("tabs", text("file\tlabel\n00.png\t0\n"), ("separated by tabs, not by commas",)),
    Refused("not UTF-8", text("file,label\nBefünd.png,0\n".encode("latin-1")), ("labels.csv: not UTF-8",)),
    Refused("UTF-16", text("file,label\n".encode("utf-16")), ("labels.csv: not UTF-8",)),
    Refused("a row too short", text("file,label\n00.png\n"), ("line 2 has 1 cells, the header 2",)),
    Refused("a quote that never ends", text('file,label\n"00.png,0\n'), ("labels.csv: ",)),
    Refused(
        "an unknown class", cell(7, 1, "benin"), (HERE, IN_ROW, "'benin' is none of the classes benign, malignant")
    ),
    Refused("a label out of range", cell(7, 1, "2"), (HERE, IN_ROW, "label 2, but the 2 classes are 0 to 1")),
    Refused("a negative label", cell(7, 1, "-1"), (HERE, IN_ROW, "'-1' is none of the classes")),
    Refused("half a label", cell(7, 1, "0.5"), (HERE, IN_ROW, "'0.5' is none of the classes")),
    Refused(
        "an index where names are numbers",
        rows(lambda cells: [row.__setitem__(1, str(index % 4)) for index, row in enumerate(cells)]),
        (HERE, "line 2: label 0 is none of the classes 1, 2, 3, whose names are numbers"),
        {"task": "multi-class", "classes": ["1", "2", "3"]},
    ),
    Refused("no label", cell(7, 1, ""), (HERE, IN_ROW, "no label")),
    Refused("no file in a row", cell(7, 0, " "), (HERE, IN_ROW, "no file")),
    Refused("a missing file", cell(7, 0, "77.png"), (HERE, IN_ROW, "77.png: no such file")),
    Refused("a name without its suffix", cell(7, 0, "07"), (HERE, IN_ROW, "07: no such file; is 07.png meant?")),
    Refused("a file twice", cell(7, 0, "./03.png"), (HERE, IN_ROW, "03.png stands in line 5 too")),
    Refused("a path out of the folder", cell(7, 0, "../07.png"), (HERE, IN_ROW, "../07.png leads out of the folder")),
    Refused("an absolute path", cell(7, 0, "/etc/hostname"), (IN_ROW, "/etc/hostname leads out of the folder")),
    Refused("a path with a drive", cell(7, 0, "C:\\07.png"), (IN_ROW, "leads out of the folder")),
    Refused(
        "a folder as an image", lambda files: ((files / "07.png").unlink(), (files / "07.png").mkdir()), ("a folder",)
    ),
    Refused(
        "a link to nothing",
        lambda files: ((files / "07.png").unlink(), (files / "07.png").symlink_to("nowhere")),
        (HERE, IN_ROW, "07.png: no such file"),
    ),
    Refused(
        "a link to itself",
        lambda files: ((files / "07.png").unlink(), (files / "07.png").symlink_to("07.png")),
        ("data.own.mine: ", "07.png"),
    ),
    Refused(
        "a class that never occurs",
        lambda files: None,
        (HERE, "no image at all is 'cyst'"),
        {"task": "multi-class", "classes": ["benign", "malignant", "cyst"]},
    ),
    Refused(
        "a label that never occurs",
        rows(lambda cells: [row.__setitem__(slice(1, None), ["1", "0"]) for row in cells], "file,benign,malignant"),
        (HERE, "no image at all is 'malignant'"),
        {"task": "multi-label, binary-class"},
    ),
    Refused(
        "an answer that is neither yes nor no",
        rows(lambda cells: [row.__setitem__(slice(1, None), ["1", "2"]) for row in cells], "file,benign,malignant"),
        (HERE, "labels.csv, line 2: malignant is '2', not 0 or 1"),
        {"task": "multi-label, binary-class"},
    ),
    Refused(
        "an unknown split",
        added("split", lambda index: "fold1"),
        ("line 2: split 'fold1' is none of train, val, test",),
    ),
    Refused("a row without a split", added("split", lambda index: "" if index == 7 else "train"), (IN_ROW, "no split")),
    Refused(
        "an empty split",
        added("split", lambda index: ("train", "val")[index % 2]),
        (HERE, "no image is in the split test"),
    ),
    Refused(
        "no training",
        added("split", lambda index: ("test", "val")[index % 2]),
        (HERE, "no image is in the split train"),
    ),
    Refused("no patient in a row", added("patient", lambda index: " " if index == 7 else "p"), (IN_ROW, "no patient")),
    *(
        Refused(
            f"a column {column} that nobody named",
            added(column, lambda index: "abc"[index % 3]),
            (HERE, f"labels.csv: column {column} may say the {what}", f"columns.{what}: {column}`", f'{what}: ""`'),
        )
        for what, columns in (
            ("patient", ("PatientID", "patient_id", "subject", "case", "Case No")),
            ("split", ("fold", "set", "Subset")),
        )
        for column in columns
    ),
    Refused("a column in other capitals", added("Split", lambda index: "fold1"), ("split 'fold1' is none of train",)),
    Refused("a column in two capitals", added("Split,split", lambda index: "train,test"), ("Split may say the split",)),
    Refused(
        "too few patients",
        added("patient", lambda index: f"p{index % 2}"),
        (HERE, "drawn by patients: 2 of them, too few"),
    ),
    Refused(
        "a patient in two splits",
        PATIENTS,
        (
            HERE,
            "00.png (labels.csv, line 2) in train and 01.png (labels.csv, line 3) in val are of one patient",
            "(and 19 more)",
            "`allow_leakage: true`",
        ),
    ),
    Refused(
        "a training image that is tested",
        both(SPLIT, twice("00.png", "02.png")),
        (HERE, "00.png (labels.csv, line 2) in train and 02.png (labels.csv, line 4) in test are the same image; mend"),
    ),
    Refused(
        "a training image that is validated",
        both(SPLIT, twice("00.png", "01.png")),
        ("in train and 01.png (labels.csv, line 3) in val are the same image",),
    ),
    Refused(
        "copies in another format",
        both(SPLIT, lambda files: Image.open(files / "00.png").save(files / "02.png", format="BMP")),
        ("in train and 02.png (labels.csv, line 4) in test are the same image",),
    ),
    Refused(
        "one image alone",
        rows(lambda cells: cells.__delitem__(slice(2, None))),
        ("different images: 2 of them, too few",),
    ),
]

IMAGE = "data.own.mine: 07.png (labels.csv, line 9): "
IMAGES = [
    Refused("an empty file", lambda files: (files / "07.png").write_bytes(b""), (IMAGE, "empty, no image")),
    Refused(
        "a text", lambda files: (files / "07.png").write_text("no image"), (IMAGE, "no image of PNG, JPEG, TIFF, BMP")
    ),
    Refused("a truncated JPEG", cut, (IMAGE, "truncated")),
    Refused(
        "a truncated PNG",
        lambda files: (files / "07.png").write_bytes((files / "07.png").read_bytes()[:-30]),
        (IMAGE,),
    ),
    Refused(
        "a damaged PNG",
        lambda files: (files / "07.png").write_bytes((files / "07.png").read_bytes().replace(b"IDAT", b"IDAU")),
        (IMAGE,),
    ),
    Refused("a format that is not read", image(Image.fromarray, format="GIF"), (IMAGE, "no image of PNG")),
    Refused("an image made to fill memory", bomb, (IMAGE, "pixels")),
    Refused(
        "colours where grey was said",
        image(lambda pixels: Image.fromarray(np.stack([pixels, pixels, 255 - pixels], axis=-1))),
        (IMAGE, "has colours (three channels that differ), but channels is 1"),
    ),
    Refused(
        "a transparent image",
        image(lambda pixels: Image.fromarray(np.stack([pixels] * 4, axis=-1))),
        (IMAGE, "transparent in places"),
    ),
    Refused(
        "colours of print", image(lambda pixels: Image.new("CMYK", (8, 8)), format="JPEG"), (IMAGE, "colours are CMYK")
    ),
    Refused("a line", image(lambda pixels: Image.fromarray(pixels[:1])), (IMAGE, "is 1 x 8: one line alone")),
    Refused(
        "fractions without a window",
        image(lambda pixels: Image.fromarray(pixels.astype(np.float32)), format="TIFF"),
        (IMAGE, "does not say what is black and what is white; say `window: [low, high]`"),
    ),
    Refused(
        "NaN",
        image(lambda pixels: Image.fromarray(np.full((8, 8), np.nan, np.float32)), format="TIFF"),
        (IMAGE, "holds NaN or infinite values"),
    ),
    Refused(
        "NaN with a window",
        image(lambda pixels: Image.fromarray(np.full((8, 8), np.inf, np.float32)), format="TIFF"),
        (IMAGE, "holds NaN or infinite values"),
        {"window": [0, 1]},
    ),
    Refused(
        "several pages",
        image(Image.fromarray, format="TIFF", save_all=True, append_images=[Image.new("L", (8, 8))]),
        (IMAGE, "holds 2 images, where one is meant"),
    ),
    Refused("twelve bits in sixteen", deep(4095), (HERE, "16 of 256 grey levels would be left; say `window: [")),
    Refused("twelve bits and a hot pixel", deep(4095, hot=True), (HERE, "16 of 256 grey levels would be left")),
    Refused(
        "eight and sixteen bits",
        some_deep,
        (HERE, "files can hold unlike values, 0 to 255 and 0 to 65,535", "`window: each` for each image's own range"),
    ),
    Refused(
        "a volume of one slice",
        lambda files: None,
        ("data.own.mine: 00.png", "is 1 x 8 x 8: one slice alone"),
        {"dimension": 3},
    ),
    Refused(
        "a volume where images are",
        both(cell(7, 0, "a.nii"), lambda files: (files / "a.nii").write_bytes(b"anything")),
        ("data.own.mine: a.nii (labels.csv, line 9): a volume, but dimension is 2",),
    ),
    Refused(
        "a NIfTI that is none",
        both(
            rows(lambda cells: [row.__setitem__(0, f"{row[0][:2]}.nii") for row in cells]),
            lambda files: [(files / f"{index:02}.nii").write_bytes(b"anything") for index in range(30)],
        ),
        ("data.own.mine: 00.nii (labels.csv, line 2): ",),
        {"dimension": 3},
    ),
    Refused(
        "an array of objects",
        both(cell(7, 0, "a.npy"), lambda files: np.save(files / "a.npy", np.array([{}]), allow_pickle=True)),
        ("a.npy (labels.csv, line 9): holds object [1]: Python objects, which are never loaded",),
    ),
    Refused(
        "an array that is none",
        both(cell(7, 0, "a.npy"), lambda files: (files / "a.npy").write_bytes(b"anything")),
        ("a.npy (labels.csv, line 9): not an intact npy file",),
    ),
    Refused(
        "a DICOM file that is none",
        both(cell(7, 0, "a.dcm"), lambda files: (files / "a.dcm").write_bytes(b"anything")),
        ("a.dcm (labels.csv, line 9): a.dcm is no DICOM file",),
    ),
]


def by_class(change: Callable[[Path], object]) -> Callable[[Path], None]:
    """The thirty files in folders of their classes."""

    def damage(files: Path) -> None:
        (files / "labels.csv").unlink()
        for index, file in enumerate(sorted(files.glob("*.png"))):
            target = files / ("malignant" if index % 3 == 0 else "benign")
            target.mkdir(exist_ok=True)
            file.rename(target / file.name)
        change(files)

    return damage


FOLDERS = [
    Refused(name, by_class(change), says, {"kind": "folders"} | dict(*declared))
    for name, change, says, *declared in [
        ("an unknown folder", lambda files: (files / "other").mkdir(), (HERE, "folder other is none of the classes")),
        ("a file beside the folders", lambda files: (files / "a.png").touch(), (HERE, "a.png is a file, where")),
        (
            "a folder in a class",
            lambda files: (files / "benign" / "p").mkdir(),
            ("benign/p: a folder, where an image",),
        ),
        (
            "a text in a class",
            lambda files: (files / "benign" / "p.txt").touch(),
            ("mine: benign/p.txt: empty, no image",),
        ),
        (
            "a class without a folder",
            lambda files: [file.unlink() for file in (files / "benign").iterdir()],
            (HERE, "no image at all is 'benign'"),
        ),
        (
            "no folder",
            lambda files: (
                [(file.unlink(), file.parent.exists()) for file in files.glob("*/*")]
                and [folder.rmdir() for folder in files.iterdir()]
            ),
            (HERE, "an empty folder, without a class"),
        ),
        (
            "a split twice",
            lambda files: [
                (files / "benign").rename(files / "val"),
                (files / "malignant").rename(files / "valid"),
            ],
            (HERE, "one split is there twice: val, valid"),
        ),
        (
            "splits without classes",
            lambda files: [(files / "benign").rename(files / "train"), (files / "malignant").rename(files / "test")],
            (HERE, "is a file, where there is a folder for each class"),
        ),
    ]
]


def arrays(**changes) -> Callable[[Path], None]:
    """An npz with other arrays, or without those that are None."""

    def damage(files: Path) -> None:
        chance = np.random.default_rng(0)
        found = {}
        for split, count in (("train", 12), ("val", 4), ("test", 6)):
            found[f"{split}_images"] = chance.integers(0, 256, (count, 8, 8), dtype=np.uint8)
            found[f"{split}_labels"] = np.arange(count) % 2
        made = {name: change(found[name]) if callable(change) else change for name, change in changes.items()}
        found |= made
        np.savez(files / "mine.npz", **{name: array for name, array in found.items() if array is not None})

    return damage


def at(row: int, value: object, dtype: object = None) -> Callable[[np.ndarray], np.ndarray]:
    """One other value."""

    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(dtype or array.dtype)
        array[row] = value
        return array

    return change


FILE = "data.own.mine: files/mine.npz: "
NPZ = [
    Refused(name, damage, says, {"kind": "npz", "path": "files/mine.npz"} | dict(*declared))
    for name, damage, says, *declared in [
        ("no npz", lambda files: None, (FILE, "no such file")),
        ("a folder", lambda files: (files / "mine.npz").mkdir(), (FILE, "a folder, but kind is npz")),
        ("no npz but a text", lambda files: (files / "mine.npz").write_text("x"), (FILE, "not a zip file")),
        ("an empty npz", lambda files: (files / "mine.npz").write_bytes(b""), (FILE, "the file is empty")),
        (
            "a single array",
            lambda files: np.save(open(files / "mine.npz", "wb"), np.zeros(3)),  # noqa: SIM115
            (FILE, "a single array"),
        ),
        (
            "no arrays of these names",
            lambda files: np.savez(files / "mine.npz", a=[1]),
            (FILE, "neither train_images nor"),
        ),
        ("no labels", arrays(train_labels=None), (FILE, "there is train_images, but no train_labels")),
        ("no test split", arrays(test_images=None), (FILE, "no image is in the split test")),
        ("an empty split of arrays", arrays(val_images=lambda a: a[:0]), (FILE, "val_images is empty")),
        (
            "a split twice in arrays",
            arrays(valid_images=np.zeros((1, 8, 8), np.uint8), valid_labels=np.zeros(1)),
            (FILE, "one split is there twice: train_images, val_images, valid_images, test_images"),
        ),
        (
            "labels that are too few",
            arrays(train_labels=lambda a: a[:-1]),
            (FILE, "train_labels has 11 rows for 12 images"),
        ),
        ("a label too large", arrays(train_labels=at(3, 2)), (FILE, "train_labels: row 3 is 2, but labels are 0 to 1")),
        (
            "indices where names are numbers",
            arrays(),
            (FILE, "train_labels: label 0 is none of the classes 1, 2, whose names are numbers"),
            {"classes": ["1", "2"]},
        ),
        ("a label below 0", arrays(train_labels=at(3, -1)), (FILE, "train_labels: row 3 is -1, but labels are 0 to 1")),
        (
            "labels from 1",
            arrays(train_labels=lambda a: a + 1),
            (FILE, "row 1 is 2, but labels are 0 to 1; are they counted from 1 instead of 0"),
        ),
        (
            "half of a label",
            arrays(val_labels=at(2, 0.5, float)),
            (FILE, "val_labels: row 2 is 0.5, not whole numbers"),
        ),
        ("a label that is NaN", arrays(val_labels=at(2, np.nan, float)), (FILE, "val_labels: row 2 is nan, not whole")),
        ("two ones", arrays(val_labels=lambda a: at(2, 1)(np.eye(2)[a])), (FILE, "row 2 is [1.0, 1.0], where one-hot")),
        ("no one", arrays(val_labels=lambda a: at(2, 0)(np.eye(2)[a])), (FILE, "row 2 is [0.0, 0.0], where one-hot")),
        (
            "columns too many",
            arrays(val_labels=lambda a: np.eye(3)[a]),
            (FILE, "has the form [4, 3], not [N], [N,1] or"),
        ),
        ("labels of four axes", arrays(val_labels=lambda a: a[:, None, None]), (FILE, "has the form [4, 1, 1], not")),
        ("one number for all labels", arrays(val_labels=np.array(1)), (FILE, "val_labels: has the form []")),
        (
            "names of no class",
            arrays(val_labels=lambda a: np.array(["a"] * 4)),
            (FILE, "label 'a' is none of the classes"),
        ),
        (
            "labels that are dates",
            arrays(val_labels=lambda a: a.astype("M8[s]")),
            (FILE, "val_labels: holds datetime64"),
        ),
        (
            "labels that are objects",
            arrays(val_labels=lambda a: a.astype(object)),
            (FILE, "val_labels is object [4]: Python objects, which are never loaded"),
        ),
        (
            "images that are objects",
            arrays(val_images=lambda a: np.array([list(a), None, None, None], object)),
            (FILE, "val_images is object", "never loaded"),
        ),
        ("images that are complex", arrays(val_images=lambda a: a * 1j), ("val_images[0]", "complex128")),
        (
            "colours in an npz",
            arrays(val_images=lambda a: np.stack([a, a, 255 - a], -1)),
            ("val_images[0]: has colours",),
        ),
        ("fractions beyond 1", arrays(val_images=lambda a: a.astype(float)), ("val_images[0]: values from", "window")),
        (
            "an image that is NaN",
            arrays(val_images=lambda a: at(2, np.nan)(a / 255)),
            ("data.own.mine: val_images[2]: holds NaN or infinite values",),
        ),
        (
            "images of one axis",
            arrays(val_images=lambda a: a[:, 0]),
            ("val_images[0]: has the form [8], but dimension",),
        ),
        ("images without pixels", arrays(val_images=lambda a: a[:, :0]), (FILE, "0 x 8, without a pixel")),
        ("patients too few", arrays(train_patients=np.arange(3)), (FILE, "train_patients has 3 rows for 12 images")),
        (
            "patients of two columns",
            arrays(train_patients=np.zeros((12, 2), int)),
            (FILE, "train_patients holds int64 [12, 2], not a name or a whole number for each image"),
        ),
        (
            "no patient of a row",
            arrays(train_patients=np.array(["a", "b", " ", *"defghijkl"])),
            (FILE, "train_patients: row 2 has no patient"),
        ),
        ("patients that are fractions", arrays(train_patients=np.arange(12.0)), (FILE, "train_patients holds float64")),
        (
            "one patient in two splits",
            arrays(train_patients=np.arange(12), val_patients=np.arange(11, 15)),
            (FILE, "train_images[11] in train and val_images[0] in val are of one patient"),
        ),
        (
            "an image in two splits",
            arrays(train_images=at(2, np.arange(8)), test_images=at(5, np.arange(8))),
            (FILE, "train_images[2] in train and test_images[5] in test are the same image"),
        ),
        (
            "labels for one answer",
            arrays(),
            (FILE, "train_labels: has the form [12], not [N,2]"),
            {"task": "multi-label, binary-class"},
        ),
    ]
]
CASES = {case.name: case for case in (*CSV, *IMAGES, *FOLDERS, *NPZ)}


def test_names_tell_cases_apart():
    assert len(CASES) == len([*CSV, *IMAGES, *FOLDERS, *NPZ])


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_in_one_line_and_nothing_stays_behind(name, pngs, place, built, declare):
    case = CASES[name]
    case.damage(place / "files")
    with pytest.raises(PipelineError) as refused:
        built(declare(**case.declared))
    said = str(refused.value)
    assert [part for part in (*case.says, "data.own.mine") if part not in said] == [], said
    assert len(said) < 400
    assert list((place / "raw").iterdir()) == []
