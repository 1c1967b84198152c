"""A small copy of the pipeline that tests run through dvc, in a repository of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
SMALL = {
    "data": {"datasets": ["retinamnist", "breastmnist", "nodulemnist3d"]},
    "phantom": {"train": 20, "val": 12, "test": 15},
    "model": {"image_size": 32, "volume_size": 16},
    "adapter": {"bottleneck_a": 4, "bottleneck_b": 4, "bottleneck_c": 4},
    "train": {"num_rounds": 2},
    "ablation": {"run": ["mosaic", "linear_probe"]},
    "segmentation": {"data": {"datasets": []}, "ablation": {"run": [], "analyse": []}},
    "tracking": {"system_metrics": False},
}


class Repository:
    """A git and DVC repository with a copy of the working tree, and the environment its commands run in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "GIT_"))}
        self.environment = inherited | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "true",
            "GIT_AUTHOR_NAME": "test",
            "GIT_AUTHOR_EMAIL": "test@localhost",
            "GIT_COMMITTER_NAME": "test",
            "GIT_COMMITTER_EMAIL": "test@localhost",
        }

    def run(self, *command: str, fails: bool = False) -> str:
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert (result.returncode != 0) == fails, result.stdout
        return result.stdout

    def client(self) -> "MlflowClient":
        """The MLflow store of the repository."""
        from mlflow import MlflowClient

        return MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")

    def search(self, wanted: str) -> list:
        """MLflow runs that a search finds, the latest first."""
        client = self.client()
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return client.search_runs(experiments, filter_string=wanted)

    def runs(self, **tags: str) -> list:
        """MLflow runs that carry all the given tags, the latest first."""
        return self.search(" and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items()))

    def restore(self) -> None:
        """Bring back the committed files, whatever an experiment made of them.

        An experiment that fails leaves its parameters in the workspace, milliseconds after DVC checked the committed
        ones out. Git tells files apart by size and whole seconds and may then see no change, nor undo one: without
        an index it compares, and writes, everything.
        """
        (self.folder / ".git/index").unlink()
        self.run("git", "reset", "-q", "--hard")

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)


def merged(base: dict, change: dict) -> dict:
    return base | {
        key: merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in change.items()
    }


def copied(folder: Path, change: dict[str, Any] | None = None) -> Repository:
    """Copy what git knows of the working tree, without results, with SMALL and `change` laid over its parameters."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("reports/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(merged(merged(params, SMALL), change or {}), sort_keys=False))
    repository = Repository(folder)
    repository.run("git", "init", "-q")
    repository.commit("small pipeline")
    return repository


def read_until(process: subprocess.Popen, start: str) -> str:
    """Read lines up to the first one that starts so."""
    read = ""
    for line in process.stdout:
        read += line
        if line.startswith(start):
            return read
    raise AssertionError(f"no line {start!r} in: {read}")
