"""Small models, splits and configurations that the tests share."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

# Several workers share the cores; before torch is imported, and for the stages that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# What tests start is this checkout's library too, whatever is installed.
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1] / "pipeline")

import numpy as np
import pytest
import torch

from mosaic_pipeline.config import Config, resolve
from mosaic_pipeline.data.batches import open_splits
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.model.mosaic import Mosaic, build_mosaic
from mosaic_pipeline.model.vit import VisionTransformer
from mosaic_pipeline.params import Params, load_params
from mosaic_pipeline.training.trainer import CyclicTrainer

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")

# They run the whole pipeline, or one stage again and again.
LONGEST = ("test_pipeline.py", "test_shared_through_s3.py", "test_resume.py", "test_killed.py", "test_parallel.py")
# One dataset of every specialist, and a second one of B.
ONE_OF_EACH = ("retinamnist", "breastmnist", "chestmnist", "nodulemnist3d")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker is left with one of them at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """Let what a test draws from torch's global generator, such as a random backbone, be the same in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny project in which every stage has run once, with the bundle of a training; only read."""
    from finished import finish

    return finish(tmp_path_factory.mktemp("finished") / "project")


@pytest.fixture(scope="session")
def params() -> Params:
    """The committed parameters."""
    return load_params(ROOT / "params.yaml")


@pytest.fixture
def make_config(params: Params) -> Callable[..., Config]:
    """Build a small configuration: keyword `section__key=value` overrides a parameter."""

    def make(datasets: Iterable[str] = ONE_OF_EACH, variant: str = "mosaic", **overrides) -> Config:
        small = {
            "data__datasets": tuple(datasets),
            "model__image_size": 32,
            "model__volume_size": 16,
            "adapter__bottleneck_a": 3,
            "adapter__bottleneck_b": 4,
            "adapter__bottleneck_c": 5,
            "adapter__bottleneck_2d": 7,
            "adapter__bottleneck_3d": 5,
            "adapter__bottleneck_shared": 12,
            "adapter__lora_rank": 2,
            "adapter__prompt_tokens": 3,
            "train__num_rounds": 2,
            "train__batch_size": 8,
        }
        tree = params.model_dump()
        for key, value in (small | overrides).items():
            section, name = key.split("__")
            tree[section][name] = value
        return resolve(Params.model_validate(tree), variant)

    return make


@pytest.fixture
def make_backbone() -> Callable[[], VisionTransformer]:
    """Build a ViT of two blocks and width 24 for 32 px, the same at every call."""

    def make() -> VisionTransformer:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            vit = VisionTransformer(img_size=32, patch_size=16, embed_dim=24, depth=2, num_heads=2, num_classes=0)
            for parameter in vit.parameters():
                parameter.data.add_(0.1 * torch.randn_like(parameter))
        return vit.eval()

    return make


@pytest.fixture
def make_model(make_backbone, make_config) -> Callable[..., Mosaic]:
    """Build a small MOSAIC; keywords as for `make_config`."""

    def make(datasets: Iterable[str] = ONE_OF_EACH, seed: int = 0, **overrides) -> Mosaic:
        return build_mosaic(make_config(datasets, **overrides).for_seed(seed), make_backbone(), seed)

    return make


@pytest.fixture
def write_cached() -> Callable[[Path, str, dict[str, int]], None]:
    """The function that writes splits of one dataset."""
    return write_splits


@pytest.fixture
def cached(tmp_path) -> Path:
    """Cached arrays of ONE_OF_EACH: 12 training, 10 validation and 10 test images each, signal in the brightness."""
    folder = tmp_path / "cached"
    for name in ONE_OF_EACH:
        write_splits(folder / name, name, {"train": 12, "val": 10, "test": 10})
    return folder


def write_splits(folder: Path, name: str, counts: dict[str, int]) -> None:
    """Write splits of one dataset in the cache's layout; each class occurs, and the mean brightness tells it."""
    dataset, described = MEDMNIST[name], {}
    folder.mkdir(parents=True)
    generator = np.random.default_rng(len(name))
    for split, count in counts.items():
        if dataset.multi_label:
            labels = generator.integers(0, 2, (count, dataset.num_classes))
            labels[0], labels[1] = 0, 1
        else:
            labels = (np.arange(count) % dataset.num_classes)[:, None]
        level = labels.mean(axis=1) / max(1, labels.max())
        shape = (count, *dataset.image_shape(28))
        noise = generator.integers(0, 80, shape)
        images = noise + (150 * level).reshape(-1, *[1] * (len(shape) - 1))
        np.save(folder / f"{split}_images.npy", images.astype(np.uint8))
        np.save(folder / f"{split}_labels.npy", labels.astype(np.int64))
        described[split] = {"n": count, "of": count, "md5": {"labels": md5_file(folder / f"{split}_labels.npy")}}
    meta = {
        "dataset": name,
        "source": "phantom",
        "size": 28,
        "form": dataset.form(),
        "splits": described,
        "findings": [],
    }
    (folder / "meta.json").write_text(json.dumps(meta))


@pytest.fixture
def as_process(monkeypatch) -> Callable[[int, int], None]:
    """Set the environment of one of several processes that torchrun started."""

    def become(rank: int, count: int) -> None:
        values = {"LOCAL_RANK": rank, "RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "none", "MASTER_PORT": 1}
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    return become


@pytest.fixture
def make_trainer(make_model, make_config, cached) -> Callable[..., CyclicTrainer]:
    """Build a trainer on the small cached datasets; keywords as for `make_config`, and `seed`."""

    def make(datasets: Iterable[str] = ONE_OF_EACH, seed: int = 0, **overrides) -> CyclicTrainer:
        config = make_config(datasets, **overrides).for_seed(seed)
        train, val = open_splits(cached, config.datasets, ("train", "val"), CPU)
        return CyclicTrainer(
            make_model(datasets, seed, **overrides),
            config,
            train=train,
            val=val,
            seed=seed,
            device=CPU,
            eval_batch_size=4,
        )

    return make
