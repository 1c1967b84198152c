"""Bundles that are damaged, and what is asked of them that cannot be."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from case import Case
from damage import empty, file, flipped, folder, garbage, missing, replaced, set_json, truncated, written
from spoil import edited_tensors

BUNDLE = "bundles/mosaic-42"
CONFIG, MODEL, BACKBONE, MD5S = (
    f"{BUNDLE}/{name}" for name in ("config.json", "model.safetensors", "backbone.safetensors", "md5sums.txt")
)
RETINA = "data/cached/test/retinamnist/test_images.npy"  # an npy of several images, which one file is not
NPZ = "data/raw/retinamnist.npz"


def predict(
    name: str,
    *says: str,
    damage: Callable[[Path], None] = lambda project: None,
    bundle: str = BUNDLE,
    place: str = NPZ,
    options: str = "--dataset retinamnist",
) -> Case:
    command = f"mosaic predict {bundle} {place} --device cpu -o out.csv {options}"
    return Case(f"predict: {name}", command, damage, says=says)


def of_bundle(name: str, damage: Callable[[Path], None], *says: str) -> Case:
    return predict(name, *says, damage=damage)


def resealed(change: Callable[[Path], None]) -> Callable[[Path], None]:
    """What somebody changed who made the md5s anew too."""

    def spoil(project: Path) -> None:
        change(project)
        from mosaic_pipeline.digest import md5_file

        files = sorted(each for each in (project / BUNDLE).iterdir() if each.name != "md5sums.txt")
        (project / MD5S).write_text("".join(f"{md5_file(each)}  {each.name}\n" for each in files))

    return spoil


def without_tensor(tensors: dict) -> None:
    del tensors["heads.retinamnist.bias"]


def of_nan(tensors: dict) -> None:
    tensors["heads.retinamnist.bias"][0] = float("nan")


def folder_of_text(project: Path) -> None:
    (project / "texts").mkdir()
    (project / "texts/a.txt").write_text("no image")


def without_md5(project: Path) -> None:
    tree = json.loads((project / CONFIG).read_text())
    del tree["provenance"]["md5"]["model"]
    (project / CONFIG).write_text(json.dumps(tree))


def of_another_bundle(project: Path) -> None:
    shutil.copy(project / "runs/shared/42/model.safetensors", project / MODEL)


AGAIN = "get the bundle again"
CASES = [
    of_bundle("no bundle there", missing(BUNDLE), BUNDLE, "no bundle", "mosaic bundle"),
    of_bundle("a file for the folder", file(BUNDLE), BUNDLE, "no bundle"),
    of_bundle("config missing", missing(CONFIG), "config.json is not in it"),
    of_bundle("config empty", empty(CONFIG), CONFIG, AGAIN),
    of_bundle("config half", truncated(CONFIG), CONFIG, AGAIN),
    of_bundle("config garbage", garbage(CONFIG), CONFIG, AGAIN),
    of_bundle("config edited", replaced(CONFIG, "RetinaMNIST", "RetinaMIST"), CONFIG, "was changed", AGAIN),
    of_bundle("config of a later format", set_json(CONFIG, "format", 2), "format 2", "take a later one"),
    of_bundle("config of no format", set_json(CONFIG, "format", "x"), CONFIG, "format"),
    of_bundle("config with a key too many", set_json(CONFIG, "extra", 1), CONFIG, "extra"),
    of_bundle(
        "a class name too few", set_json(CONFIG, "datasets.retinamnist.class_names", ["a"]), "1 class names for 5"
    ),
    of_bundle("no md5 of the model", without_md5, "provenance.md5.model: missing"),
    of_bundle("statistics not finite", set_json(CONFIG, "statistics.0.0", float("nan")), CONFIG),
    of_bundle("another architecture", resealed(set_json(CONFIG, "config.model.backbone", "nonsense")), "nonsense"),
    of_bundle("model missing", missing(MODEL), MODEL, "no such file", AGAIN),
    of_bundle("model a folder", folder(MODEL), MODEL, AGAIN),
    of_bundle("model flipped", flipped(MODEL, bits=1), MODEL, "was changed", AGAIN),
    of_bundle("model of another training", of_another_bundle, MODEL, "was changed"),
    of_bundle("model no safetensors", resealed(garbage(MODEL)), MODEL, AGAIN),
    of_bundle("a tensor missing", resealed(edited_tensors(MODEL, without_tensor)), MODEL, "heads.retinamnist.bias"),
    of_bundle("a tensor not finite", resealed(edited_tensors(MODEL, of_nan)), MODEL, "not finite"),
    of_bundle("backbone missing", missing(BACKBONE), BACKBONE, AGAIN),
    of_bundle("backbone of another form", resealed(of_another_bundle), MODEL, AGAIN),
    of_bundle("md5s missing", missing(MD5S), MD5S, AGAIN),
    of_bundle("md5s empty", empty(MD5S), MD5S, "says nothing of config.json"),
    of_bundle("md5s no list", written(MD5S, "nonsense\n"), MD5S),
    predict("unknown dataset", "unknown to this model", "did you mean retinamnist", options="--dataset retinamist"),
    predict("dataset left out", "--dataset", options=""),
    predict("nothing there", "nowhere", "no such file or folder", place="nowhere"),
    predict("a folder without an image", "texts", "no image is in it", "a.txt", place="texts", damage=folder_of_text),
    predict("no device", "tpu", "no device", options="--dataset retinamnist --device tpu"),
    predict("a window upside down", "LOW must be below HIGH", options="--dataset retinamnist --window=5,1"),
    predict("a window of words", "neither LOW,HIGH nor each", options="--dataset retinamnist --window=dark"),
    predict("no batch size", "no number of images", options="--dataset retinamnist --batch-size 0"),
    predict("another fit", "--fit", options="--dataset retinamnist --fit squeeze"),
    predict("the table is a folder", "out.csv", damage=lambda project: (project / "out.csv").mkdir()),
    predict("another table", "out.csv", "is there already", "-o", damage=written("out.csv", "a,b\n1,2\n")),
    predict("a table that is no text", "out.csv", "is there already", damage=garbage("out.csv")),
    Case("bundle: no such variant", "mosaic bundle nothing 42", says=("nothing",)),
    Case("bundle: no such seed", "mosaic bundle mosaic 7", says=("runs/mosaic/7/train.json", "dvc repro train")),
    Case("bundle: a seed that is none", "mosaic bundle mosaic x", says=("'x' is no seed",)),
    Case("bundle: there already", "mosaic bundle mosaic 42", says=(BUNDLE, "is there already", "-o")),
    Case(
        "bundle: no test",
        "mosaic bundle mosaic 42 -o new",
        missing("evaluation/mosaic/42/B.json"),
        says=("evaluation/mosaic/42/B.json", "dvc repro evaluate"),
    ),
    Case(
        "bundle: model flipped",
        "mosaic bundle mosaic 42 -o new",
        flipped("runs/mosaic/42/model.safetensors"),
        says=("runs/mosaic/42/model.safetensors",),
    ),
]
