"""The table of datasets against MedMNIST's own."""

from urllib.parse import urlsplit

import medmnist
import pytest

from mosaic_pipeline.data import official
from mosaic_pipeline.datasets import MEDMNIST, MOSAIC_ROUTING, SIZES

every_dataset = pytest.mark.parametrize("dataset", MEDMNIST.values(), ids=MEDMNIST)


def test_the_table_holds_exactly_the_datasets_of_medmnist():
    assert list(MEDMNIST) == list(medmnist.INFO)


@every_dataset
def test_every_field_is_what_medmnist_says(dataset):
    info = medmnist.INFO[dataset.name]
    assert dataset.task == info["task"]
    assert dataset.channels == info["n_channels"]
    assert dataset.num_classes == len(info["label"])


def test_licences_are_those_that_medmnist_publishes_each_dataset_under():
    licences = {name: official.about(dataset).licence for name, dataset in MEDMNIST.items()}
    assert {name for name, licence in licences.items() if licence != "CC BY 4.0"} == {"dermamnist"}
    assert licences["dermamnist"] == "CC BY-NC 4.0"


@every_dataset
def test_dimension_and_sizes_are_those_of_the_medmnist_class(dataset):
    bases = {2: medmnist.dataset.MedMNIST2D, 3: medmnist.dataset.MedMNIST3D}
    published = getattr(medmnist, official.about(dataset).title)
    assert issubclass(published, bases[dataset.dimension])
    assert list(SIZES[dataset.dimension]) == published.available_sizes


@every_dataset
def test_official_files_are_named_as_in_the_published_urls(dataset):
    info = medmnist.INFO[dataset.name]
    published = {urlsplit(url).path.rsplit("/", 1)[1] for key, url in info.items() if key.startswith("url")}
    assert {official.file_name(dataset, size) for size in SIZES[dataset.dimension]} == published


@every_dataset
def test_volumes_and_only_volumes_belong_to_specialist_c(dataset):
    assert MOSAIC_ROUTING[dataset.name] in ("A", "B", "C")
    assert (MOSAIC_ROUTING[dataset.name] == "C") == (dataset.dimension == 3)


def test_label_columns_follow_the_task():
    assert MEDMNIST["chestmnist"].label_columns == 14
    assert {dataset.label_columns for dataset in MEDMNIST.values() if not dataset.multi_label} == {1}


def test_image_shapes_are_those_of_the_official_arrays():
    assert MEDMNIST["pathmnist"].image_shape(64) == (64, 64, 3)
    assert MEDMNIST["breastmnist"].image_shape(28) == (28, 28)
    assert MEDMNIST["adrenalmnist3d"].image_shape(64) == (64, 64, 64)


def test_sided_datasets_are_those_whose_classes_name_left_and_right():
    named = {name for name, info in medmnist.INFO.items() if any("left" in label for label in info["label"].values())}
    assert {name for name, dataset in MEDMNIST.items() if dataset.sided} == named
