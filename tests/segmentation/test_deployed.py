"""A model is taken only for what it is: of the training on disk, and of its inputs as they are now."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import SLICES, segmentation_config, segmentation_run
from mosaic_pipeline.segmentation.deployed import load_model, load_trained
from mosaic_pipeline.training.model_file import MODEL
from tests.segmentation.workplace import SEED, write_model, write_params

CPU = torch.device("cpu")


def load(variant="m4oe"):
    return load_trained(variant, SEED, CPU)


def test_what_is_loaded_is_what_was_written_in_the_phase_that_is_deployed(workplace):
    for variant, gated in (("m4oe", True), ("hard", False), ("dense", False)):
        deployed, training = load(variant)
        stored = load_file(segmentation_run(variant, SEED) / MODEL)
        assert training["variant"] == variant
        assert deployed.model.gated == gated
        assert not deployed.model.training
        for name, tensor in deployed.model.trainable_state().items():
            assert torch.equal(tensor, stored[f"model.{name}"])
    assert deployed.size == 16
    assert deployed.intensities["flare22"].window == (-160.0, 240.0)
    assert deployed.intensities["atlas23"].percentiles == (0.5, 99.5)


def _edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _edit_text(path):
    path.write_text(path.read_text().replace("clip: 1.0", "clip: 2.0"))


def _edit_tensor():
    path = segmentation_run("m4oe", SEED) / MODEL
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["model.heads.flare22.weight"][0, 0] += 1
    save_file(tensors, path, metadata)


def _take_from(variant):
    for name in (MODEL, "train.json"):
        shutil.copy(segmentation_run(variant, SEED) / name, segmentation_run("m4oe", SEED) / name)


def _take_model_from(variant):
    shutil.copy(segmentation_run(variant, SEED) / MODEL, segmentation_run("m4oe", SEED) / MODEL)


def _other_seed():
    write_model("m4oe", 7)
    Path(segmentation_run("m4oe", 7) / MODEL).replace(segmentation_run("m4oe", SEED) / MODEL)


def _train_json(**changes):
    _edit_json(segmentation_run("m4oe", SEED) / "train.json", **changes)


STALE = {
    "another variant's, both files": (lambda: _take_from("hard"), r"train\.json: of hard with seed 42"),
    "another variant's": (lambda: _take_model_from("hard"), "variant is hard, expected m4oe"),
    "another seed's": (_other_seed, "seed is 7, expected 42"),
    "another configuration": (lambda: _edit_text(segmentation_config("m4oe")), r"md5\.config is"),
    "other slices": (lambda: _edit_json(SLICES / "atlas23/meta.json", source="elsewhere"), r"data\.atlas23 is"),
    "another model than train.json's": (_edit_tensor, r"not the model that \S+train\.json is about"),
    "no md5 of the model": (lambda: _train_json(md5={}), "not the model that"),
    "no train.json": (lambda: (segmentation_run("m4oe", SEED) / "train.json").unlink(), r"train\.json: no such file"),
    "no model": (lambda: (segmentation_run("m4oe", SEED) / MODEL).unlink(), f"{MODEL}: no such file"),
    "a seed that is no number": (lambda: _train_json(seed="42"), r"train\.json: seed"),
    "no configuration": (
        lambda: segmentation_config("m4oe").unlink(),
        r"m4oe\.yaml: no such file; `dvc repro seg_conf",
    ),
}


@pytest.mark.parametrize(("damage", "said"), STALE.values(), ids=STALE)
def test_a_model_that_is_not_of_the_training_on_disk_is_refused_in_one_line(workplace, damage, said):
    load()
    damage()
    with pytest.raises(PipelineError, match=said) as error:
        load()
    assert "\n" not in str(error.value)
    assert "`dvc repro seg_" in str(error.value)


def test_a_file_alone_is_enough_wherever_it_lies(workplace, tmp_path):
    known, _ = load()
    alone = tmp_path / "taken along.safetensors"
    shutil.copy(segmentation_run("m4oe", SEED) / MODEL, alone)
    shutil.rmtree("segmentation")
    write_params(intensity__percentiles=[10.0, 90.0])  # of no matter: the model was trained by others
    found = load_model(alone, CPU)
    images = torch.rand(2, 16, 16) * 2 - 1
    for name in known.datasets:
        assert torch.equal(known.model(images, name), found.model(images, name))
    assert (found.datasets, found.intensities, found.size) == (known.datasets, known.intensities, known.size)
    assert found.model.gated


def each(form):
    """The same scaling for both sets."""
    return {"flare22": form, "atlas23": form}


FOREIGN = {
    "of classification": {"config": None},
    "another network's configuration": {"config": {"model": 1}},
    "a configuration that cannot be": {"config": "later"},
    "no scaling of a dataset": {"intensity": {"flare22": {"window": [0, 1]}}},
    "a scaling that is none": {"intensity": each({"window": [1, 0]})},
    "a scaling of another name": {"intensity": each({"range": [0, 1]})},
}


@pytest.mark.parametrize("changes", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_lacks_what_it_takes_is_refused_in_one_line(workplace, changes):
    write_model("m4oe", **changes)
    path = segmentation_run("m4oe", SEED) / MODEL
    with pytest.raises(PipelineError, match=f"^{path}: [^\n]+; `dvc repro seg_train` makes one$"):
        load_model(path, CPU)


@pytest.mark.parametrize("content", [None, b"", b"\x00" * 64, "cut"])
def test_a_damaged_file_is_refused_in_one_line(workplace, content):
    path = segmentation_run("m4oe", SEED) / MODEL
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[:-10] if content == "cut" else content)
    for read in (lambda: load_model(path, CPU), load):
        with pytest.raises(PipelineError, match=f"^{path}: [^\n]+; `dvc repro seg_train[^\n]+$"):
            read()
