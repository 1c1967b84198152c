"""An external dataset is held against the images that models are trained on, whatever both are called."""

import numpy as np
import pytest

from mosaic_pipeline.data import official
from mosaic_pipeline.data.cache import build_cache
from mosaic_pipeline.data.trained import trained_images
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.params import Data

TRAINED, EXTERNAL = (MEDMNIST[name] for name in ("breastmnist", "pneumoniamnist"))
COUNTS = {"train": 12, "val": 6, "test": 6}


def arrays(seed, dataset=TRAINED):
    rng, made = np.random.default_rng(seed), {}
    for split, count in COUNTS.items():
        made[f"{split}_images"] = rng.integers(0, 256, (count, *dataset.image_shape(28)), dtype=np.uint8)
        made[f"{split}_labels"] = (np.arange(count) % 2)[:, None].astype(np.uint8)
    return made


def build(folder, dataset, content, trained=None, **changes):
    folder.mkdir(exist_ok=True)
    np.savez(folder / "raw.npz", **content)
    values = {"source": "mirror", "mirror": "unused", "verify": False, "allow_leakage": False, "size_2d": 28}
    values |= {"size_3d": 28, "train_limit": None, "eval_limit": None, "datasets": [dataset.name]}
    data = Data(**values | {"external": [], "corruptions": [], "own": {}} | changes)
    parts = folder / "training" / dataset.name, folder / "test" / dataset.name
    metas = build_cache(folder / "raw.npz", *parts, dataset, official.about(dataset), data, trained or {})
    return [finding for meta in metas for finding in meta["findings"]]


@pytest.fixture
def known(tmp_path):
    """The hashes of what was cached of the trained dataset."""
    build(tmp_path / "trained", TRAINED, arrays(0))
    return trained_images([tmp_path / "trained" / "training" / TRAINED.name], (28, 28))


def test_a_dataset_of_its_own_is_let_through(tmp_path, known):
    assert known["breastmnist"].shape == (18,)
    assert build(tmp_path / "external", EXTERNAL, arrays(1), known) == []


@pytest.mark.parametrize("seen", ["train", "val"])
@pytest.mark.parametrize("split", COUNTS)
def test_images_of_every_split_that_models_are_trained_or_chosen_on_are_refused_or_found(tmp_path, known, split, seen):
    content = arrays(1)
    content[f"{split}_images"][[2, 4]] = arrays(0)[f"{seen}_images"][[5, 1]]
    with pytest.raises(PipelineError) as refused:
        build(tmp_path / "external", EXTERNAL, content, known)
    title = {"train": "training", "val": "validation", "test": "test"}[split]
    assert str(refused.value).startswith(
        f"{tmp_path / 'external' / 'raw.npz'}: 2 of {COUNTS[split]} {title} images are images of breastmnist that "
        f"models are trained or chosen on ({split}_images[2]); "
    )
    assert [path.name for path in (tmp_path / "external").rglob("*.npy")] == []
    found = build(tmp_path / "external", EXTERNAL, content, known, allow_leakage=True)
    assert found == [{"kind": "trained", "split": split, "images": 2, "of": "breastmnist"}]


def test_test_images_and_constant_ones_of_a_trained_dataset_give_nothing_away(tmp_path):
    trained = arrays(0)
    trained["train_images"][3] = 7
    build(tmp_path / "trained", TRAINED, trained)
    known = trained_images([tmp_path / "trained" / "training" / TRAINED.name], (28, 28))
    assert known["breastmnist"].shape == (17,)
    content = arrays(1)
    content["test_images"][0] = 7
    content["test_images"][1] = trained["test_images"][1]
    found = build(tmp_path / "external", EXTERNAL, content, known)
    assert found == [{"kind": "constant", "split": "test", "images": 1}]


def test_images_of_another_shape_are_not_looked_at_and_small_blocks_are_the_same(tmp_path, known, monkeypatch):
    folder = tmp_path / "trained" / "training" / TRAINED.name
    assert trained_images([folder], (28, 28, 3)) == {}
    monkeypatch.setattr("mosaic_pipeline.data.trained._BLOCK_BYTES", 5 * 28 * 28)
    assert (trained_images([folder], (28, 28))["breastmnist"] == known["breastmnist"]).all()
