"""Random images in the cache's layout."""

from pathlib import Path

import numpy as np

from benchmarks.setting import Setting


def write_training_splits(folder: Path, setting: Setting) -> None:
    """Write `<folder>/<dataset>/train_{images,labels}.npy` with as many images as the setting's steps take."""
    generator = np.random.default_rng(0)
    count = (setting.skipped + setting.steps) * setting.train.batch_size
    for name, dataset in setting.datasets.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        shape = (count, *dataset.image_shape(setting.stored[dataset.dimension]))
        np.save(folder / name / "train_images.npy", generator.integers(0, 256, shape, dtype=np.uint8))
        high = 2 if dataset.multi_label else dataset.num_classes
        np.save(folder / name / "train_labels.npy", generator.integers(0, high, (count, dataset.label_columns)))
