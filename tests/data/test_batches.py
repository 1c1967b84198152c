from pathlib import Path

import numpy as np
import pytest
import torch

from mosaic_pipeline.data.batches import Split, _prefetched, consecutive, open_splits
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.errors import PipelineError

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path):
    """Ten images whose every pixel, and label, is their row."""
    np.save(tmp_path / "train_images.npy", np.broadcast_to(np.arange(10, dtype=np.uint8)[:, None, None], (10, 4, 4)))
    np.save(tmp_path / "train_labels.npy", np.arange(10)[:, None])
    return tmp_path


@pytest.mark.parametrize("resident", [False, True])
def test_batches_follow_the_order_and_hold_every_image_once_with_its_label(folder, resident):
    split = Split(folder, "train", CPU)
    if resident:
        split.make_resident()
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    batches = list(split.batches(consecutive(slice(0, 10), 4), order))
    assert [len(batch.labels) for batch in batches] == [4, 4, 2]
    assert torch.cat([batch.images[:, 0, 0] for batch in batches]).tolist() == order.tolist()
    assert torch.cat([batch.labels[:, 0] for batch in batches]).tolist() == order.tolist()
    assert all(batch.images.dtype == torch.uint8 for batch in batches)


def test_without_an_order_images_come_as_stored(folder):
    (batch,) = Split(folder, "train", CPU).batches([slice(3, 7)])
    assert batch.labels[:, 0].tolist() == batch.images[:, 0, 0].tolist() == [3, 4, 5, 6]


def test_images_stay_in_the_memory_map(folder):
    assert isinstance(Split(folder, "train", CPU).images, np.memmap)


def test_reading_a_large_split_does_not_add_to_the_memory_of_the_process(tmp_path):
    np.save(tmp_path / "train_labels.npy", np.zeros((4000, 1), np.int64))
    images = np.lib.format.open_memmap(tmp_path / "train_images.npy", "w+", np.uint8, (4000, 224, 224))  # 200 MB
    images[:] = 1
    images.flush()
    del images
    split = Split(tmp_path, "train", CPU)
    before = resident_file_bytes()
    largest = max(resident_file_bytes() for _ in split.batches(consecutive(slice(0, 4000), 32), torch.randperm(4000)))
    assert largest - before < 20e6


def resident_file_bytes() -> float:
    """Memory-mapped pages that count as this process's memory."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile")]
    return 1024 * int(line.split()[1])


@pytest.mark.parametrize("workers", [1, 3])
def test_prefetching_keeps_the_order_and_passes_errors_on(workers):
    keys = [slice(k, k + 1) for k in range(20)]
    assert list(_prefetched(lambda key: torch.tensor(key.start), keys, workers)) == list(range(20))
    with pytest.raises(ZeroDivisionError):
        list(_prefetched(lambda key: torch.tensor(1 // (key.start - 5)), keys, workers))


def test_prefetching_runs_a_bounded_number_of_batches_ahead():
    made = []
    batches = _prefetched(lambda key: made.append(key) or torch.zeros(1), [slice(k, k + 1) for k in range(50)], 2)
    for _ in range(10):
        next(batches)
    assert len(made) <= 10 + 2 * 2 + 1


def test_a_missing_or_damaged_split_is_one_line_that_names_the_file(folder):
    with pytest.raises(PipelineError, match=r"val_images\.npy: no such file; `dvc repro` makes it"):
        open_splits(folder.parent, {folder.name: MEDMNIST["breastmnist"]}, ("val",), CPU)
    (folder / "train_images.npy").write_bytes(b"nothing")
    with pytest.raises(PipelineError, match=r"train_images\.npy: not an intact npy file") as error:
        Split(folder, "train", CPU)
    assert "\n" not in str(error.value)


def test_a_split_has_a_label_for_each_image(folder):
    np.save(folder / "train_labels.npy", np.arange(9)[:, None])
    with pytest.raises(PipelineError, match=r"train_labels\.npy: 9 labels for images \[10, 4, 4\]"):
        Split(folder, "train", CPU)


@pytest.mark.parametrize(
    ("images", "labels", "line"),
    [
        ((6, 28, 28), (6, 1), None),
        ((6, 64, 64), (6, 1), None),
        ((6, 28, 27), (6, 1), r"images \[28, 27\]"),
        ((6, 28, 28, 3), (6, 1), r"images \[28, 28, 3\]"),
        ((6, 28, 28), (6, 2), "2 labels an image"),
    ],
)
def test_a_split_is_of_the_dataset_whose_name_its_folder_has(tmp_path, images, labels, line):
    (tmp_path / "breastmnist").mkdir()
    np.save(tmp_path / "breastmnist/val_images.npy", np.zeros(images, np.uint8))
    np.save(tmp_path / "breastmnist/val_labels.npy", np.zeros(labels, np.int64))
    if line is None:
        open_splits(tmp_path, {"breastmnist": MEDMNIST["breastmnist"]}, ("val",), CPU)
        return
    with pytest.raises(PipelineError, match=line):
        open_splits(tmp_path, {"breastmnist": MEDMNIST["breastmnist"]}, ("val",), CPU)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_beyond_the_datasets_classes_are_refused(tmp_path, label):
    (tmp_path / "breastmnist").mkdir()
    np.save(tmp_path / "breastmnist/val_images.npy", np.zeros((6, 28, 28), np.uint8))
    np.save(tmp_path / "breastmnist/val_labels.npy", np.array([0, 1, 0, 1, 0, label])[:, None])
    with pytest.raises(PipelineError, match=rf"val_labels\.npy: labels .*{label}.*; those of breastmnist are 0 to 1"):
        open_splits(tmp_path, {"breastmnist": MEDMNIST["breastmnist"]}, ("val",), CPU)
