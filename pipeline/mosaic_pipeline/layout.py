"""Where things are: the files of every stage, relative to its working directory (as in dvc.yaml), and the root."""

import os
from pathlib import Path

CHECKED = Path(".cache/checked")
CODE = Path("code")
DECLARED = Path("declared")
RAW = Path("data/raw")
# Apart, so that another test split retrains nothing: training, tuning and analyses see the first one alone.
TRAINING_DATA = Path("data/cached/training")
TEST_DATA = Path("data/cached/test")
# Of datasets that no model is trained on; beside the others, because train depends on the folder above as a whole.
EXTERNAL_RAW = Path("data/external/raw")
EXTERNAL_TRAINING = Path("data/external/cached/training")
EXTERNAL_TEST = Path("data/external/cached/test")
BACKBONE = Path("weights/backbone.safetensors")
CANDIDATES = Path("candidates")
CONFIGS = Path("configs")
TUNING = Path("tuning")
RUNS = Path("runs")
EVALUATION = Path("evaluation")
ANALYSIS = Path("analysis")
RECOGNISER = Path("recognition/means.safetensors")
RECOGNITION_TEST = Path("recognition/test.json")
REPORTS = Path("reports")
# Of segmentation.
SCANS = Path("segmentation/raw")
INDEX = Path("segmentation/index")
SLICES = Path("segmentation/cached")
SWIN = Path("segmentation/weights/swin.safetensors")
SEG_CONFIGS = Path("segmentation/configs")
SEG_ROLES = Path("segmentation/roles")
SEG_RESULTS = Path("segmentation/results")
PREDICTIONS = Path("segmentation/predictions")
SEG_REPORTS = REPORTS / "segmentation"


def root() -> Path:
    """Return the main repository's absolute root.

    A queued experiment runs in a temporary copy; DVC names the original in DVC_ROOT. What must outlive the copy lives
    there, and what users name by a relative path is found there.
    """
    return Path(os.environ.get("DVC_ROOT") or ".").resolve()


def from_root(name: str) -> Path:
    """Return the path that a user means: `~` is a home folder, and a relative one starts at the root."""
    # Path's own raises a RuntimeError for the home of a user that is not; like this it is a file that is not there.
    return root() / os.path.expanduser(name)  # noqa: PTH111


def code_file(stage: str) -> Path:
    """Digests of the modules that decide what a stage makes."""
    return CODE / f"{stage}.txt"


def source_file(dataset: str) -> Path:
    """What decides what the images and labels of a dataset are."""
    return DECLARED / dataset / "source.yaml"


def about_file(dataset: str) -> Path:
    """What is said of a dataset: title, specialist, class names, licence."""
    return DECLARED / dataset / "about.yaml"


def candidates_file(variant: str) -> Path:
    """Configurations from which that of a variant is chosen."""
    return CANDIDATES / f"{variant}.yaml"


def config_file(variant: str) -> Path:
    """Resolved configuration of a variant."""
    return CONFIGS / f"{variant}.yaml"


def tuning_file(variant: str) -> Path:
    """What was tried for a variant before it was trained, and what it came to."""
    return TUNING / f"{variant}.json"


def run_folder(variant: str, seed: int) -> Path:
    """Folder of one training: model.safetensors, history.csv, conflicts.json, train.json."""
    return RUNS / variant / str(seed)


def evaluation_file(variant: str, seed: int, specialist: str, suffix: str) -> Path:
    """One output of the evaluate stage; the suffix is `json`, `npz`, `roc.csv` or `predictions.csv`."""
    return EVALUATION / variant / str(seed) / f"{specialist}.{suffix}"


def transfer_file(variant: str, seed: int, dataset: str, suffix: str) -> Path:
    """One output of the transfer stage; the suffix is `json` or `npz`."""
    return EVALUATION / variant / str(seed) / "transfer" / f"{dataset}.{suffix}"


def corrupted_file(variant: str, seed: int, corruption: str, suffix: str) -> Path:
    """One output of the corrupt stage; the suffix is `json` or `npz`."""
    return EVALUATION / variant / str(seed) / "corrupted" / f"{corruption}.{suffix}"


def recognition_file(dataset: str) -> Path:
    """What the cases of an external dataset are proposed to be."""
    return RECOGNITION_TEST.parent / "external" / f"{dataset}.json"


def analysis_file(variant: str, seed: int) -> Path:
    """What was looked into of one training, beyond its test results."""
    return ANALYSIS / variant / f"{seed}.json"


def index_file(dataset: str) -> Path:
    """What the scans of a set are, case by case."""
    return INDEX / f"{dataset}.json"


def variants_file() -> Path:
    """Which variants of segmentation there are, and why each."""
    return SEG_RESULTS / "variants.json"


def segmentation_config(variant: str) -> Path:
    """Return the resolved configuration of a variant of segmentation."""
    return SEG_CONFIGS / f"{variant}.yaml"


def role_file(variant: str) -> Path:
    """What a variant is among those of segmentation, beyond how it is trained."""
    return SEG_ROLES / f"{variant}.json"


def segmentation_run(variant: str, seed: int) -> Path:
    """Where a training of segmentation and all that came of it is, as the report reads it."""
    return SEG_RESULTS / variant / str(seed)


def segmentation_evaluation(variant: str, seed: int) -> Path:
    """Return the test results of a training of segmentation, every case and organ."""
    return segmentation_run(variant, seed) / "evaluation.json"


def prediction_folder(variant: str, seed: int) -> Path:
    """Where the predicted label maps of a training of segmentation are, a folder for each set."""
    return PREDICTIONS / variant / str(seed)


def segmentation_analysis(variant: str, seed: int) -> Path:
    """What was looked into of one training of segmentation."""
    return segmentation_run(variant, seed) / "analysis.json"


_MAKERS = {
    SCANS: "seg_index",
    INDEX: "seg_index",
    SLICES: "seg_cache",
    SWIN.parent: "seg_weights",
    SEG_CONFIGS: "seg_configure",
    SEG_ROLES: "seg_configure",
    SEG_RESULTS: "seg_train",
    PREDICTIONS: "seg_evaluate",
    DECLARED: "declare",
    RAW: "download",
    TRAINING_DATA.parent: "cache",
    EXTERNAL_RAW: "download_external",
    EXTERNAL_TRAINING.parent: "cache_external",
    BACKBONE.parent: "weights",
    CANDIDATES: "configure",
    CONFIGS: "tune",
    TUNING: "tune",
    RUNS: "train",
    EVALUATION: "evaluate",
    ANALYSIS: "analyse",
    RECOGNISER.parent / "external": "recognise_external",
    RECOGNISER.parent: "recognise",
}


# Files of a training's results that are other stages' own.
_WITHIN_RESULTS = {"variants": "seg_declare", "evaluation": "seg_evaluate", "analysis": "seg_analyse"}
# Folders of a training's evaluation that are other stages' own.
_WITHIN_EVALUATION = {"transfer": "transfer", "corrupted": "corrupt"}


def maker(path: Path) -> str:
    """Return the command that makes a file of a stage: the stage's own below its folder, else that for everything."""
    stage = next((stage for folder, stage in _MAKERS.items() if folder in path.parents), None)
    if stage == "evaluate":
        stage = _WITHIN_EVALUATION.get(path.parent.name, stage)
    if stage == "seg_train":
        stage = _WITHIN_RESULTS.get(path.stem, stage)
    return f"dvc repro {stage}" if stage else "dvc repro"
