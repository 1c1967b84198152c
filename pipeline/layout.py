"""Where every stage puts its files, relative to the repository root (dvc.yaml declares the same paths)."""

from pathlib import Path

RAW = Path("data/raw")
CACHED = Path("data/cached")
BACKBONE = Path("weights/backbone.safetensors")
CONFIGS = Path("configs")
RUNS = Path("runs")
EVALUATION = Path("evaluation")
REPORTS = Path("reports")


def config_file(variant: str) -> Path:
    """Resolved configuration of a variant."""
    return CONFIGS / f"{variant}.yaml"


def run_folder(variant: str, seed: int) -> Path:
    """Folder of one training: model.safetensors, history.csv, train.json."""
    return RUNS / variant / str(seed)


def evaluation_file(variant: str, seed: int, specialist: str, suffix: str) -> Path:
    """One output of the evaluate stage; the suffix is `json`, `npz`, `roc.csv` or `predictions.csv`."""
    return EVALUATION / variant / str(seed) / f"{specialist}.{suffix}"
