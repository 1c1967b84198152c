"""Small trainings of segmentation on arrays that look like the cache's."""

import json

import numpy as np
import pytest
import torch

from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.segmentation.data.slices import open_slices
from mosaic_pipeline.segmentation.model.build import build_m4oe
from mosaic_pipeline.segmentation.training.trainer import SegmentationTrainer
from tests.segmentation.nets import make_config


def write_slices(folder, dataset, *, size=16, train=10, val=6, seed=0):
    """Two cases a split: a square for each class, brighter by class, in noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    splits, voxels = {}, {}
    for split, n in (("train", train), ("val", val)):
        labels = np.zeros((n, size, size), np.uint8)
        for row in range(n):
            for number in range(1, dataset.num_classes):
                x, y = rng.integers(0, size - 5, 2)
                labels[row, x : x + 5, y : y + 5] = number
        images = labels / dataset.num_classes * 2 - 1 + rng.normal(0, 0.1, labels.shape)
        where = np.stack([np.arange(n) % 2, np.arange(n) // 2], axis=1)
        for kind, array in (("images", images.astype(np.float16)), ("labels", labels), ("where", where.astype("i4"))):
            np.save(folder / f"{split}_{kind}.npy", array)
        md5 = {kind: md5_file(folder / f"{split}_{kind}.npy") for kind in ("images", "labels", "where")}
        splits[split] = {"n": n, "of": n, "cases": 2, "md5": md5}
        voxels[split] = np.bincount(labels.ravel(), minlength=dataset.num_classes).tolist()
    meta = {"dataset": folder.name, "form": dataset.form(), "size": size, "source": "made", "splits": splits}
    meta |= {"intensity": {"window": [-1.0, 1.0]}}
    (folder / "meta.json").write_text(json.dumps(meta | {"class_voxels": voxels}))


@pytest.fixture(scope="session")
def cached(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slices")
    for number, (name, dataset) in enumerate(make_config().datasets.items()):
        write_slices(folder / name, dataset, seed=number)
    return folder


@pytest.fixture
def make_trainer(cached):
    """Build a trainer of a small network; arguments are those of `make_config`."""

    def make(*names, seed=3, **options):
        config = make_config(names or ("flare22", "atlas23"), **options)
        device = torch.device("cpu")
        train, val = open_slices(cached, config.datasets, config.model.size, ("train", "val"), device)
        model = build_m4oe(config, seed)
        options = {"train": train, "val": val, "seed": seed, "device": device, "eval_batch_size": 4}
        return SegmentationTrainer(model, config, **options)

    return make
