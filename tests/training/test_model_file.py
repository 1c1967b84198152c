"""A model file is taken only for what it is: whose, made from what, and every tensor of it as it must be."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import BACKBONE, TRAINING_DATA, config_file, run_folder
from mosaic_pipeline.lineage import read_lineage
from mosaic_pipeline.training.model_file import MODEL, identity, load_model, read_identity, read_trained, save_model
from mosaic_pipeline.weights.load import PROVENANCE

NAMES = {name: MEDMNIST[name] for name in ("breastmnist", "retinamnist")}
WHOSE = {"variant": "mosaic", "seed": 42, "md5": {"config": "c" * 32}, "data": dict.fromkeys("hgfedcba", "d" * 32)}


@pytest.fixture
def model(make_model):
    return make_model(("breastmnist",))


@pytest.fixture
def saved(model, tmp_path):
    save_model(tmp_path / MODEL, WHOSE, student=model.trainable_state())
    return tmp_path / MODEL


def test_the_same_model_is_the_same_bytes_and_says_whose_it_is(model, saved, tmp_path):
    for name in "ab":
        save_model(tmp_path / name, WHOSE, student=model.trainable_state())
        assert (tmp_path / name).read_bytes() == saved.read_bytes()
    assert read_identity(saved) == WHOSE


HEAD = "student.heads.breastmnist.bias"
WRONG = {
    "a tensor of one value, which would be broadcast": (torch.zeros(1), r"heads\.breastmnist\.bias is \[1, torch"),
    "a tensor with a dimension more": (torch.zeros(1, 2), r"heads\.breastmnist\.bias is \[1, 2, torch"),
    "a tensor of another type": (torch.zeros(2, dtype=torch.float64), r"is \[2, torch\.float64\], expected \[2, torch"),
    "whole numbers": (torch.zeros(2, dtype=torch.int32), r"is \[2, torch\.int32\], expected"),
    "a value that is none": (torch.tensor([0.0, torch.nan]), "holds values that are not finite"),
    "an infinite value": (torch.tensor([-torch.inf, 0.0]), "holds values that are not finite"),
    "no tensor": (None, r"tensors \['heads\.breastmnist\.bias'\] are in only one of model and file"),
}


@pytest.mark.parametrize(("tensor", "said"), WRONG.values(), ids=WRONG)
def test_a_model_with_a_wrong_tensor_is_refused_in_one_line_and_nothing_is_loaded(model, saved, tensor, said):
    tensors = load_file(saved)
    del tensors[HEAD]
    save_file(tensors if tensor is None else tensors | {HEAD: tensor}, saved)
    before = {name: tensor.clone() for name, tensor in model.trainable_state().items()}
    with pytest.raises(PipelineError, match=rf"^\S+{MODEL}: not a model of this configuration \([^\n]*{said}[^\n]*"):
        load_model(saved, model, "student")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.trainable_state().items())


def test_a_model_that_the_file_does_not_hold_is_refused(model, saved):
    with pytest.raises(PipelineError, match="not a model of this configuration"):
        load_model(saved, model, "teacher")


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x10\0\0\0\0\0\0\0{}", "folder", "no metadata"])
def test_what_is_no_model_file_of_the_stage_is_one_line(model, saved, content):
    tensors = load_file(saved)
    saved.unlink()
    if content == "folder":
        saved.mkdir()
    elif content == "no metadata":
        save_file(tensors, saved)
    elif content is not None:
        saved.write_bytes(content)
    with pytest.raises(
        PipelineError, match=rf"^\S+{MODEL}: (no such|not a model) file[^\n]*`dvc repro train` makes it$"
    ):
        read_identity(saved)


def write_meta(name: str, source: str = "phantom") -> None:
    meta = {"dataset": name, "source": source, "size": 28, "form": {}, "splits": {}, "findings": []}
    (TRAINING_DATA / name / "meta.json").write_text(json.dumps(meta))


@pytest.fixture
def workplace(model, tmp_path, monkeypatch):
    """Two finished trainings, each with its configuration, on the same weights and data."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        (TRAINING_DATA / name).mkdir(parents=True)
        write_meta(name)
    BACKBONE.parent.mkdir()
    save_file({"x": torch.zeros(1)}, BACKBONE, {PROVENANCE: "{}"})
    for variant in ("mosaic", "shared"):
        config_file(variant).parent.mkdir(exist_ok=True)
        config_file(variant).write_text(f"variant: {variant}")
    for variant, seed in (("mosaic", 42), ("mosaic", 43), ("shared", 42)):
        folder, lineage = run_folder(variant, seed), read_lineage(md5_file(config_file(variant)), NAMES)
        save_model(
            folder / MODEL, identity(variant, seed, lineage, NAMES), student={"x": torch.full((1,), float(seed))}
        )
        md5 = lineage.md5 | {"model": md5_file(folder / MODEL)}
        training = {"variant": variant, "seed": seed, "deployed": "student", "md5": md5}
        (folder / "train.json").write_text(json.dumps(training))
    return tmp_path


def test_a_training_whose_inputs_are_as_they_were_is_read(workplace):
    training = read_trained("mosaic", 42, NAMES)
    assert training["deployed"] == "student"
    with safe_open(run_folder("mosaic", 42) / MODEL, framework="pt") as file:
        assert file.metadata().keys() == {"training"}


def copied(source, target, *names):
    for name in names:
        shutil.copy(run_folder(*source) / name, run_folder(*target) / name)


def about(model: str | None) -> None:
    """Let train.json be about a model of this md5."""
    path = run_folder("mosaic", 42) / "train.json"
    training = json.loads(path.read_text())
    del training["md5"]["model"]
    path.write_text(json.dumps(training | {"md5": training["md5"] | ({"model": model} if model else {})}))


MIXED = {
    "another seed's model": (lambda: copied(("mosaic", 43), ("mosaic", 42), MODEL), "seed is 43, expected 42"),
    "another variant's model": (
        lambda: copied(("shared", 42), ("mosaic", 42), MODEL),
        "variant is shared, expected mosaic",
    ),
    "a train.json of another model": (lambda: about("0" * 32), "not the model that runs/mosaic/42/train.json is about"),
    "a train.json of no model": (lambda: about(None), "not the model that runs/mosaic/42/train.json is about"),
    "another configuration": (lambda: config_file("mosaic").write_text("variant: other"), "md5.config is "),
    "other weights": (lambda: save_file({"x": torch.ones(1)}, BACKBONE, {PROVENANCE: "{}"}), "md5.weights is "),
    "other data": (lambda: write_meta("retinamnist", "mirror"), "data.retinamnist is "),
}


@pytest.mark.parametrize(("mix", "said"), MIXED.values(), ids=MIXED)
def test_files_that_do_not_belong_together_are_refused_in_one_line(workplace, mix, said):
    mix()
    with pytest.raises(PipelineError) as error:
        read_trained("mosaic", 42, NAMES)
    message = str(error.value)
    assert message.startswith(f"runs/mosaic/42/{MODEL}: not the model ")
    assert said in message
    assert message.endswith("; `dvc repro train@mosaic-42` makes it")
    assert "\n" not in message


def test_a_dataset_that_the_model_was_not_trained_on_is_refused(workplace):
    (TRAINING_DATA / "octmnist").mkdir()
    write_meta("octmnist")
    with pytest.raises(PipelineError, match=r"data\.octmnist is None, expected "):
        read_trained("mosaic", 42, NAMES | {"octmnist": MEDMNIST["octmnist"]})


def test_a_model_of_other_classes_is_refused_before_its_tensors_are_read(workplace):
    datasets = NAMES | {"breastmnist": replace(NAMES["breastmnist"], num_classes=3)}
    with pytest.raises(PipelineError, match=r"forms\.breastmnist is \{[^\n]*'num_classes': 2[^\n]*, expected"):
        read_trained("mosaic", 42, datasets)
