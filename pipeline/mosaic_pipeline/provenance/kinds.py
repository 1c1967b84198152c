"""What a path of the pipeline holds, in the words of the tree."""

from mosaic_pipeline import layout

# The first folder that holds a path says its kind; where it depends on the file, the suffix does.
_FOLDERS = {
    layout.SEG_REPORTS: "report",
    layout.REPORTS: "report",
    layout.CODE: "code",
    layout.DECLARED: "declaration",
    layout.RAW: "raw file",
    layout.EXTERNAL_RAW: "raw file",
    layout.TRAINING_DATA: "training data",
    layout.TEST_DATA: "test data",
    layout.EXTERNAL_TRAINING: "external training data",
    layout.EXTERNAL_TEST: "external test data",
    layout.BACKBONE.parent: "weights",
    layout.SWIN.parent: "weights",
    layout.CANDIDATES: "candidates",
    layout.CONFIGS: "configuration",
    layout.SEG_CONFIGS: "configuration",
    layout.SEG_ROLES: "role",
    layout.TUNING: "tuning",
    layout.EVALUATION: "evaluation",
    layout.ANALYSIS: "analysis",
    layout.SCANS: "scans",
    layout.INDEX: "index of scans",
    layout.SLICES: "training data",
    layout.PREDICTIONS: "predictions",
}
# Files of the folders in which a training and all that came of it lie.
_OF_TRAINING = {
    "model.safetensors": "model",
    "train.json": "record of a training",
    "history.csv": "history",
    "conflicts.json": "gradient conflicts",
    "evaluation.json": "evaluation",
    "evaluation.npz": "evaluation",
    "analysis.json": "analysis",
}


def kind_of(path: str) -> str:
    """Return what a path, relative to the root, holds."""
    name = path.rpartition("/")[2]
    if any(path.startswith(f"{folder.as_posix()}/") for folder in (layout.RUNS, layout.SEG_RESULTS)):
        return _OF_TRAINING.get(name, "file")
    for folder, kind in _FOLDERS.items():
        if path == folder.as_posix() or path.startswith(f"{folder.as_posix()}/"):
            return kind
    return "parameters" if path == "params.yaml" else "file"


def leads(path: str) -> bool:
    """Whether a file stands in the tree for all that its stage wrote; the others are named beside it."""
    kind = kind_of(path)
    if kind in ("evaluation", "analysis"):
        return path.endswith(".json")
    return kind in ("model", "training data", "test data", "external training data", "external test data", "scans")
