"""What is read from MedMNIST's package without importing it."""

import subprocess
import sys

import medmnist
import pytest

from mosaic_pipeline.data.official import about, file_name, published, read_info
from mosaic_pipeline.datasets import MEDMNIST, SIZES


def test_the_literal_read_is_what_an_import_of_medmnist_gives():
    assert read_info() == medmnist.INFO


def test_reading_imports_neither_medmnist_nor_torch():
    code = (
        "import sys; from mosaic_pipeline.data.official import read_info; read_info(); "
        "print(sorted({'medmnist', 'torch', 'torchvision'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("dataset", MEDMNIST.values(), ids=MEDMNIST)
def test_each_size_has_its_own_file_and_md5(dataset):
    files = [published(dataset, size) for size in SIZES[dataset.dimension]]
    for size, file in zip(SIZES[dataset.dimension], files, strict=True):
        assert f"/{file_name(dataset, size)}" in file.url
        assert len(file.md5) == 32
    assert len({file.md5 for file in files}) == len(files)


def test_class_names_stand_in_the_order_of_the_label_values():
    names = about(MEDMNIST["organmnist3d"]).class_names
    assert names[0] == "liver"
    assert names[10] == "pancreas"
    assert len(names) == 11
