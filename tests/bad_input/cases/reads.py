"""Files that the stages wrote themselves, or that a user gave, and that are not what they should be."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from json import loads as load_json
from pathlib import Path

import numpy as np
import yaml
from case import Case, Damage
from damage import (
    both,
    edited_json,
    edited_npy,
    edited_npz,
    empty,
    folder,
    forbidden,
    garbage,
    is_root,
    loop,
    missing,
    replaced,
    rewritten,
    set_json,
    truncated,
    without_json,
    written,
)
from finished import run_stage

EVALUATE, ANALYSE, TRAIN, REPORT = "evaluate mosaic 42 A", "analyse mosaic 42", "train mosaic 42", "report"
TRAINING, TEST = "data/cached/training/retinamnist", "data/cached/test/retinamnist"
RUN, EVALUATION = "runs/mosaic/42", "evaluation/mosaic/42/A"

TRAIN_JSON = f"{RUN}/train.json"
META = f"{TRAINING}/meta.json"
CONFLICTS = "runs/shared/42/conflicts.json"
TESTED = f"{EVALUATION}.json"
SCORES = f"{EVALUATION}.npz"
ROC = f"{EVALUATION}.roc.csv"
TUNING = "tuning/shared.json"
CANDIDATES = "candidates/shared.yaml"
HISTORY = f"{RUN}/history.csv"
TRAIN_IMAGES = f"{TRAINING}/train_images.npy"
VAL_IMAGES = f"{TRAINING}/val_images.npy"
TEST_LABELS = f"{TEST}/test_labels.npy"
CONFIG = "configs/mosaic.yaml"

# Every file, the command that reads it, and the one that makes it.
FILES = (
    ("candidates/mosaic.yaml", "tune mosaic", "dvc repro configure"),
    (CONFIG, TRAIN, "dvc repro tune"),
    (META, TRAIN, "dvc repro cache"),
    (TRAIN_IMAGES, TRAIN, "dvc repro cache"),
    (f"{TRAINING}/train_labels.npy", "tune shared", "dvc repro cache"),
    (VAL_IMAGES, ANALYSE, "dvc repro cache"),
    (f"{TEST}/meta.json", EVALUATE, "dvc repro cache"),
    (TEST_LABELS, EVALUATE, "dvc repro cache"),
    (TRAIN_JSON, EVALUATE, "dvc repro train"),
    (HISTORY, REPORT, "dvc repro train"),
    (CONFLICTS, REPORT, "dvc repro train"),
    (TUNING, REPORT, "dvc repro tune"),
    (TESTED, REPORT, "dvc repro evaluate"),
    (SCORES, REPORT, "dvc repro evaluate"),
    (ROC, REPORT, "dvc repro evaluate"),
    ("analysis/mosaic/42.json", REPORT, "dvc repro analyse"),
    ("recognition/test.json", REPORT, "dvc repro recognise"),
    ("recognition/means.safetensors", "recognise_external pneumoniamnist", "dvc repro recognise"),
    (
        "data/external/cached/test/pneumoniamnist/test_images.npy",
        "recognise_external pneumoniamnist",
        "dvc repro cache_external",
    ),
)
KINDS = {
    "is gone": missing,
    "is a folder": folder,
    "is empty": empty,
    "is cut short": truncated,
    "is something else": garbage,
    "is a link to itself": loop,
}
# Where permissions hinder nobody, a case of theirs could not fail.
KINDS |= {} if is_root() else {"may not be read": forbidden}


def of(name: str, command: str, path: str, damage: Damage, *says: str) -> Case:
    """A case whose line names the path, what is wrong with it, and the stage that makes it."""
    (maker,) = {maker for file, _, maker in FILES if file == path} or {""}
    return Case(name, command, damage, says=(path, maker, *says))


def json(name: str, command: str, path: str, key: str, value: object, *says: str) -> Case:
    """A JSON file with another value at a dotted key."""
    return of(name, command, path, set_json(path, key, value), *says)


def lacking(name: str, command: str, path: str, key: str, *says: str) -> Case:
    """A JSON file without a dotted key."""
    return of(name, command, path, without_json(path, key), *says)


def text(name: str, command: str, path: str, old: str, new: str, *says: str) -> Case:
    """A text file with other words."""
    return of(name, command, path, replaced(path, old, new), *says)


def train_json(key: str, value: object, *says: str, command: str = REPORT) -> Case:
    path = TRAIN_JSON
    return of(f"train.json has {key} {value!r}", command, path, set_json(path, key, value), key.split(".")[-1], *says)


def tested(key: str, value: object, *says: str) -> Case:
    path = TESTED
    key = f"datasets.retinamnist.{key}"
    return of(f"an evaluation has {key} {value!r}", REPORT, path, set_json(path, key, value), *says)


def scores(name: str, edit, *says: str) -> Case:
    path = SCORES
    return of(name, REPORT, path, edited_npz(path, edit), *says)


def array(name: str, command: str, path: str, edit, *says: str) -> Case:
    return of(name, command, path, edited_npy(path, edit), *says)


def config(old: str, new: str, *says: str) -> Case:
    path = CONFIG
    return of(f"a configuration has {new.strip()!r}", TRAIN, path, replaced(path, old, new), *says)


def analysis(name: str, edit, *says: str) -> Case:
    return of(name, REPORT, "analysis/mosaic/42.json", edited_json("analysis/mosaic/42.json", edit), *says)


def encrypted(path: str) -> Damage:
    """A zip whose members say that they are encrypted."""

    def flagged(content: bytes) -> bytes:
        changed = bytearray(content)
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = changed.find(signature)
            while at >= 0:
                changed[at + offset] |= 1
                at = changed.find(signature, at + 4)
        return bytes(changed)

    return rewritten(path, flagged)


def compressed(path: str, method: int) -> Damage:
    """A zip whose members say that they are compressed by another method than they are."""

    def other(content: bytes) -> bytes:
        changed = bytearray(content)
        for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            at = changed.find(signature)
            while at >= 0:
                changed[at + offset] = method
                at = changed.find(signature, at + 4)
        return bytes(changed)

    return rewritten(path, other)


def with_number(path: str, key: str, number: str) -> Damage:
    """A JSON file in which a top-level key has a number that Python would not write."""
    return both(set_json(path, key, "a number"), replaced(path, '"a number"', number))


def npy(path: str) -> Damage:
    """An npy where an npz should be."""

    def change(project: Path) -> None:
        with open(project / path, "wb") as file:
            np.save(file, np.zeros(3))

    return change


def moved(name: str, by: float) -> Callable[[dict[str, np.ndarray]], None]:
    """All numbers of one array moved by as much."""

    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = (arrays[name] + by).astype(arrays[name].dtype)

    return change


HEADER = "dataset,method,input_size,auc,acc,citation\n"
ROW = "RetinaMNIST,Net,28,0.7,0.5,Paper\n"


def published(name: str, content: str | bytes, *says: str, status: int = 2) -> Case:
    """A table of published results that a user gave."""
    way_out = ("report.published",) if status else ()
    return Case(
        f"published results: {name}",
        REPORT,
        written("published.csv", content),
        says=("published.csv", *way_out, *says),
        status=status,
        params={"report.published": "published.csv"},
    )


def without_group_a(project: Path) -> None:
    """A configuration without the one dataset of specialist A, and a training of it."""
    tree = yaml.safe_load((project / CONFIG).read_text())
    del tree["datasets"]["retinamnist"], tree["routing"]["datasets"]["retinamnist"], tree["routing"]["sizes"]["A"]
    (project / CONFIG).write_text(yaml.safe_dump(tree, sort_keys=False))
    assert run_stage(project, TRAIN).status == 0


def tested_nothing(project: Path) -> None:
    """The evaluation's files are there for DVC, and MLflow has no run beside that of the finished project."""
    assert load_json((project / TESTED).read_text())["datasets"] == {}
    assert (project / ROC).read_text() == "dataset,fpr,tpr\n"
    with closing(sqlite3.connect(project / "mlflow.db")) as store:
        assert store.execute("SELECT count(*) FROM runs WHERE name = 'mosaic-42-A'").fetchone() == (1,)


NAN = float("nan")
BOM = "\ufeff".encode()

CASES = [
    *(
        of(f"{path} {kind}", command, path, damage(path))
        for path, command, _ in FILES
        for kind, damage in KINDS.items()
    ),
    # train.json, of which tests and analyses look up little and the report all.
    of("train.json has a byte-order mark", EVALUATE, TRAIN_JSON, rewritten(TRAIN_JSON, BOM.__add__)),
    of("train.json is a list", EVALUATE, TRAIN_JSON, written(TRAIN_JSON, "[1, 2]"), "object"),
    of("train.json is nested deeply", EVALUATE, TRAIN_JSON, written(TRAIN_JSON, "[" * 10**5)),
    of(
        "train.json has a number of 5000 digits",
        REPORT,
        TRAIN_JSON,
        replaced(TRAIN_JSON, '"steps": ', '"steps": ' + "1" * 5000),
    ),
    of(
        "train.json is not UTF-8",
        EVALUATE,
        TRAIN_JSON,
        rewritten(TRAIN_JSON, lambda content: content.replace(b"mosaic", b"\xff")),
        "UTF-8",
    ),
    of(
        "train.json is another seed's",
        EVALUATE,
        TRAIN_JSON,
        set_json(TRAIN_JSON, "seed", 7),
        "seed 7",
    ),
    of(
        "train.json is another variant's",
        ANALYSE,
        TRAIN_JSON,
        set_json(TRAIN_JSON, "variant", "shared"),
        "shared",
    ),
    of(
        "train.json lacks the model that is deployed",
        ANALYSE,
        TRAIN_JSON,
        without_json(TRAIN_JSON, "deployed"),
        "deployed",
    ),
    train_json("deployed", "nobody", command=EVALUATE),
    train_json("md5", ["a"], command=EVALUATE),
    train_json("seed", "42", command=EVALUATE),
    json("train.json has a score of NaN", REPORT, TRAIN_JSON, "score", NAN, "NaN"),
    train_json("score", 84.1),
    train_json("best_round", 0),
    train_json("best_round", 9, "1"),
    train_json("rounds", 2.5),
    train_json("rounds", True),
    train_json("steps", -5),
    train_json("parameters.trainable", -1),
    train_json("stopped", "never"),
    of(
        "train.json has a score of 1e999",
        REPORT,
        TRAIN_JSON,
        with_number(TRAIN_JSON, "score", "1e999"),
        "1e999",
    ),
    # Cached data.
    of(
        "meta.json is another dataset's",
        TRAIN,
        META,
        set_json(META, "dataset", "breastmnist"),
        "breastmnist",
    ),
    of(
        "meta.json has a negative n",
        TRAIN,
        META,
        set_json(META, "splits.train.n", -8),
        "splits.train.n",
        "-8",
    ),
    of(
        "meta.json has another n",
        TRAIN,
        META,
        set_json(META, "splits.train.n", 7),
        "7",
        "8",
    ),
    of(
        "meta.json has another size",
        TRAIN,
        META,
        set_json(META, "size", 64),
        "64",
    ),
    of(
        "meta.json lacks a split",
        "tune shared",
        META,
        without_json(META, "splits.val"),
        "val",
    ),
    Case(
        "images are of another size than the others",
        TRAIN,
        edited_npy(TRAIN_IMAGES, lambda x: x[:, :27, :27]),
        says=(META, "train_images.npy", "27", "dvc repro cache"),
    ),
    array("images are not square", TRAIN, TRAIN_IMAGES, lambda x: x[:, :, :20]),
    array("images have one channel too few", TRAIN, TRAIN_IMAGES, lambda x: x[..., 0]),
    array("images are floats", TRAIN, TRAIN_IMAGES, lambda x: x / 255.0, "float64", "uint8"),
    array("images are in Fortran order", TRAIN, TRAIN_IMAGES, np.asfortranarray, "Fortran"),
    array("images are one number", TRAIN, TRAIN_IMAGES, lambda x: x[0, 0, 0, 0]),
    array("there is no image", ANALYSE, VAL_IMAGES, lambda x: x[:0]),
    Case(
        "there are fewer images than labels",
        ANALYSE,
        edited_npy(VAL_IMAGES, lambda x: x[:-1]),
        says=("val_labels.npy", "6 labels", "[5, ", "dvc repro cache"),
    ),
    array("images are pickled objects", EVALUATE, f"{TEST}/test_images.npy", lambda x: np.array([{}, []], object)),
    array("a label is too high", ANALYSE, f"{TRAINING}/val_labels.npy", lambda y: y + 4, "0 to 4"),
    array("a label is negative", "tune shared", f"{TRAINING}/train_labels.npy", lambda y: y - 1, "0 to 4"),
    array("labels are floats", EVALUATE, TEST_LABELS, lambda y: y.astype(float), "float64"),
    array("labels have two columns", EVALUATE, TEST_LABELS, lambda y: np.hstack([y, y])),
    array("labels are a row", EVALUATE, TEST_LABELS, lambda y: y[:, 0]),
    array("labels are in another order", EVALUATE, TEST_LABELS, lambda y: y[::-1], "meta.json"),
    array("there is no label", EVALUATE, TEST_LABELS, lambda y: y[:0]),
    # Configurations.
    config("patch_size: 16", "patch_size: 0"),
    config("num_rounds: 1", "num_rounds: -1", "num_rounds"),
    config("num_rounds: 1", "num_rounds: '1'", "num_rounds"),
    config("lr: 0.001", "lr: .nan", "lr"),
    config("  volume_size: 16\n", "", "volume_size"),
    config("  retinamnist: A", "  nosuchmnist: A", "nosuchmnist"),
    config("precision: fp32", "precision: fp64", "precision"),
    config("precision: fp32", "precision: fp32\nmore: 1", "more"),
    config("precision: fp32", "precision: !!python/object/apply:os.system [true]"),
    of("a configuration is a word", TRAIN, CONFIG, written(CONFIG, "nothing")),
    of(
        "candidates are none",
        "tune shared",
        CANDIDATES,
        written(CANDIDATES, "seed: 0\ntried: []"),
    ),
    of(
        "candidates have no seed",
        "tune shared",
        CANDIDATES,
        replaced(CANDIDATES, "seed: 0", "seed: null"),
    ),
    # Tuning, history, conflicts.
    of(
        "tuning chose what was not tried",
        REPORT,
        TUNING,
        set_json(TUNING, "chosen", 5),
        "chosen",
    ),
    json("tuning chose -1", REPORT, TUNING, "chosen", -1, "chosen"),
    of(
        "tuning is another variant's",
        REPORT,
        TUNING,
        set_json(TUNING, "variant", "mosaic"),
        "mosaic",
    ),
    of(
        "a candidate has a score of words",
        REPORT,
        TUNING,
        set_json(TUNING, "candidates.0.score", "high"),
        "candidates.0.score",
    ),
    of(
        "a history has other rounds",
        REPORT,
        HISTORY,
        replaced(HISTORY, "\n1,", "\n2,"),
        "rounds",
    ),
    of(
        "a history lacks a column",
        REPORT,
        HISTORY,
        replaced(HISTORY, "student_score", "score"),
        "student_score",
    ),
    of("a history has a column twice", REPORT, HISTORY, replaced(HISTORY, "round,lr,", "round,round,"), "twice"),
    of("a history ends in a number", REPORT, HISTORY, rewritten(HISTORY, lambda content: content[:-3]), "line"),
    of(
        "a history has an infinity",
        REPORT,
        HISTORY,
        replaced(HISTORY, "\n1,0.", "\n1,1e999"),
        "lr",
        "1e999",
    ),
    of(
        "a history has a word",
        REPORT,
        HISTORY,
        replaced(HISTORY, "\n1,0.", "\n1,low0."),
        "lr",
    ),
    text("a history has a NUL", REPORT, HISTORY, "\n1,", "\n1\0,"),
    of(
        "conflicts are of other datasets",
        REPORT,
        CONFLICTS,
        set_json(CONFLICTS, "conflicts.datasets.0", "pathmnist"),
        "pathmnist",
    ),
    of(
        "conflicts have a cosine of 7",
        REPORT,
        CONFLICTS,
        set_json(CONFLICTS, "conflicts.rounds.0.halves.0", 7),
    ),
    of(
        "conflicts have a row too few",
        REPORT,
        CONFLICTS,
        without_json(CONFLICTS, "conflicts.rounds.0.cosine.0"),
        "round 1",
    ),
    # Evaluations.
    Case(
        "a specialist has no dataset",
        EVALUATE,
        without_group_a,
        says=("mosaic, seed 42: specialist A has no dataset, so nothing is tested",),
        status=0,
        then=tested_nothing,
    ),
    tested("acc", NAN, "NaN"),
    tested("acc", 8410.0, "acc", "8410.0"),
    tested("auc", -0.1, "auc"),
    tested("n", -7, "n = -7"),
    tested("n", 1000, "1000"),
    tested("n", "7", "n"),
    tested("loss", -1, "loss"),
    tested("loss_scaled", 1e300, "loss_scaled"),
    tested("temperature", 0, "temperature"),
    tested("confusion", [[7]], "retinamnist"),
    tested("confusion", [[1, 2], [3]], "confusion"),
    tested("confusion.0.0", -1, "confusion"),
    tested("confusion.0.0", 99, "confusion", "add up"),
    tested("data.class_names", ["one"], "retinamnist"),
    tested("data.size", 0, "size"),
    tested("data.splits.test.n", 6, "6"),
    tested("data.splits.val.n", 99, "val"),
    of(
        "an evaluation is another specialist's",
        REPORT,
        TESTED,
        set_json(TESTED, "specialist", "B"),
        "B",
    ),
    of(
        "an evaluation is another seed's",
        REPORT,
        TESTED,
        set_json(TESTED, "seed", 1),
        "seed 1",
    ),
    Case(
        "an evaluation lacks its dataset",
        REPORT,
        without_json(TESTED, "datasets.retinamnist"),
        says=("evaluation/mosaic/42: retinamnist is in none of A.json, B.json, C.json",),
    ),
    tested("data.form.num_classes", 4, "retinamnist", "form"),
    tested("data.specialist", "B", "retinamnist", "specialist B"),
    of(
        "training data are of another form",
        TRAIN,
        META,
        set_json(META, "form.dimension", 3),
        "not of the form that the configuration has",
    ),
    *(
        of(f"a declaration has no {key}", command, path, replaced(path, f"{key}:", "other:"), key)
        for path, command, key in (
            ("declared/retinamnist/source.yaml", "download retinamnist", "form"),
            ("declared/retinamnist/about.yaml", "cache retinamnist", "licence"),
        )
    ),
    of(
        "an evaluation lacks a metric",
        REPORT,
        TESTED,
        without_json(TESTED, "datasets.retinamnist.auc"),
        "auc",
    ),
    *(
        lacking(f"an evaluation lacks {key}", REPORT, TESTED, f"datasets.retinamnist.{key}", key)
        for key in ("ece", "temperature", "quadratic_kappa", "reliability")
    ),
    of("scores are encrypted", REPORT, SCORES, encrypted(SCORES), "encrypted"),
    *(
        of(f"scores are said to be {name}", REPORT, SCORES, compressed(SCORES, method))
        for name, method in (("deflated", 8), ("bz2", 12), ("lzma", 14), ("of a method of the future", 99))
    ),
    of("scores are a single array", REPORT, SCORES, npy(SCORES)),
    scores("an array of scores is missing", lambda arrays: arrays.pop("retinamnist/contributions"), "contributions"),
    scores("contributions are those of other cases", moved("retinamnist/contributions", 0.1), "contributions", "ACC"),
    scores(
        "contributions are of fewer cases",
        lambda arrays: arrays.update({"retinamnist/contributions": np.zeros((3, 2), np.float32)}),
    ),
    scores("a score is above 1", moved("retinamnist/scores", 1), "scores", "from 0 to 1"),
    scores("a score is not a number", moved("retinamnist/scores", NAN), "scores"),
    scores("labels of scores are too high", moved("retinamnist/labels", 9), "labels"),
    scores("a case to show is none", moved("retinamnist/sample_index", 99), "sample_index"),
    scores(
        "pictures are of another size",
        lambda arrays: arrays.update({"retinamnist/sample_images": np.zeros((4, 9, 9, 3), np.uint8)}),
        "sample_images",
    ),
    scores(
        "scores are pickled objects",
        lambda arrays: arrays.update({"retinamnist/contributions": np.array([{}], object)}),
        "contributions",
    ),
    of(
        "a curve has a point outside",
        REPORT,
        ROC,
        replaced(ROC, "retinamnist,0.01,", "retinamnist,1.01,"),
        "1.01",
    ),
    of(
        "a curve is of another dataset",
        REPORT,
        ROC,
        replaced(ROC, "retinamnist", "pathmnist"),
        "pathmnist",
    ),
    of(
        "a curve lacks its end",
        REPORT,
        ROC,
        rewritten(ROC, lambda content: content[: content.index(b"retinamnist,0.9,")]),
        "retinamnist",
    ),
    # Analyses.
    analysis("an analysis is another seed's", lambda tree: tree.update(seed=1), "seed 1"),
    analysis("an analysis is of no cases", lambda tree: tree.update(cases=0), "cases"),
    analysis(
        "an analysis is of a dataset that is not configured",
        lambda tree: tree["branch_ratio"].update(pathmnist=[0.1]),
        "pathmnist",
    ),
    analysis("a ratio is negative", lambda tree: tree["branch_ratio"].update(retinamnist=[-0.1]), "branch_ratio"),
    analysis("a specialist is missing from a table", lambda tree: tree["similarity"]["layers"][0].pop(), "layers"),
    analysis(
        "a specialist is missing from the counts",
        lambda tree: tree["counterfactual"]["right"]["retinamnist"].pop(),
        "retinamnist",
    ),
    analysis(
        "counts of specialists are of other cases",
        lambda tree: tree["counterfactual"]["right"]["retinamnist"][0].pop(),
        "retinamnist",
    ),
    analysis("a dataset's own specialist is none", lambda tree: tree["counterfactual"]["own"].update(retinamnist="Z")),
    *(
        Case(
            f"a profile {kind}",
            "mosaic profile own",
            damage("profiles/own.yaml"),
            says=("profiles/own.yaml", "correct or remove"),
        )
        for kind, damage in (
            ("is a folder", lambda path: both(written(path, ""), folder(path))),
            ("is a link to itself", lambda path: both(written(path, ""), loop(path))),
            ("is not UTF-8", lambda path: written(path, b"\xff")),
        )
    ),
    # Published results.
    Case(
        "published results: no such file",
        REPORT,
        params={"report.published": "nowhere.csv"},
        says=("nowhere.csv", "no such file", "report.published"),
    ),
    Case(
        "published results: a folder",
        REPORT,
        params={"report.published": "data"},
        says=("data", "a folder", "report.published"),
    ),
    published("empty", "", "empty"),
    published("a header alone", HEADER, "no result"),
    published("a column is missing", HEADER.replace(",citation", "") + "RetinaMNIST,Net,28,0.7,0.5\n", "citation"),
    published("percent", HEADER + "RetinaMNIST,Net,28,84.1,0.5,Paper\n", "line 2", "auc = 84.1", "divided by 100"),
    published("far beyond percent", HEADER + ROW + "BloodMNIST,Net,28,0.9,8410.0,Paper\n", "line 3", "acc = 8410.0"),
    published("a negative value", HEADER + "RetinaMNIST,Net,28,-0.7,0.5,Paper\n", "line 2", "auc = -0.7"),
    published("nan", HEADER + "RetinaMNIST,Net,28,nan,0.5,Paper\n", "auc = nan"),
    published("a decimal comma", HEADER + 'RetinaMNIST,Net,28,"0,7",0.5,Paper\n', "auc = 0,7"),
    published(
        "an unknown dataset", HEADER + "RetinaMINST,Net,28,0.7,0.5,Paper\n", "RetinaMINST", "did you mean retinamnist?"
    ),
    published("a mean over others", HEADER + "MEAN_ALL,Net,28,0.7,0.5,Paper\n", "MEAN_ALL", "mean_all18"),
    published("the same twice", HEADER + ROW + ROW, "line 3", "line 2"),
    published("the same twice in other letters", HEADER + ROW + ROW.replace("RetinaMNIST", " retinamnist"), "line 3"),
    published("neither metric", HEADER + "RetinaMNIST,Net,28,,,Paper\n", "line 2", "neither"),
    published("no method", HEADER + "RetinaMNIST,,28,0.7,0.5,Paper\n", "line 2", "method"),
    published("no source", HEADER + "RetinaMNIST,Net,28,0.7,0.5,\n", "line 2", "citation"),
    published("semicolons", (HEADER + ROW).replace(",", ";"), "semicolons"),
    published("a cell too many", HEADER + ROW.replace("Paper", "Paper, 2023"), "line 2", "7 cells"),
    published("not UTF-8", (HEADER + ROW.replace("Paper", "Müller")).encode("latin-1"), "UTF-8"),
    published("an open quote", HEADER + 'RetinaMNIST,"Net,28,0.7,0.5,Paper\n'),
    published(
        "the byte-order mark and line ends of a spreadsheet",
        BOM + (HEADER + ROW).replace("\n", "\r\n").encode(),
        "published result",
        status=0,
    ),
]
