"""Models and weights that are damaged, of another training, or not what they say."""

import shutil
from pathlib import Path

import torch
from case import Case
from damage import both, empty, flipped, folder, garbage, missing, replaced, rewritten, truncated
from spoil import edited_tensors

MODEL, BACKBONE = "runs/mosaic/42/model.safetensors", "weights/backbone.safetensors"
HEAD = "heads.breastmnist.bias"
REMAKE = (MODEL, "dvc repro train")


def copied(*names: str):
    """Files of the other variant under this one's name."""

    def change(project: Path) -> None:
        for name in names:
            shutil.copy(project / "runs/shared/42" / name, project / "runs/mosaic/42" / name)

    return change


def head(tensor: torch.Tensor | None):
    """A model with another bias of a head, in student and teacher."""

    def edit(tensors: dict[str, torch.Tensor]) -> None:
        for which in ("student", "teacher"):
            del tensors[f"{which}.{HEAD}"]
            if tensor is not None:
                tensors[f"{which}.{HEAD}"] = tensor.clone()

    return edited_tensors(MODEL, edit)


def first_value(value: float, dtype: torch.dtype = torch.float32):
    """Weights of which one is another."""

    def edit(tensors: dict[str, torch.Tensor]) -> None:
        tensors["cls_token"] = tensors["cls_token"].to(dtype)
        tensors["cls_token"][0, 0, 0] = value

    return edited_tensors(BACKBONE, edit)


def evaluate(name: str, damage, *says: str, command: str = "evaluate mosaic 42 B") -> Case:
    return Case(f"model: {name}", command, damage, says=(*REMAKE, *says))


def weights(name: str, damage, *says: str, command: str = "train mosaic 42") -> Case:
    return Case(f"backbone: {name}", command, damage, says=(BACKBONE, "dvc repro weights", *says))


CASES = [
    evaluate("missing", missing(MODEL), "no such file"),
    evaluate("a folder", folder(MODEL)),
    evaluate("empty", empty(MODEL)),
    evaluate("half of it", truncated(MODEL)),
    evaluate("random bytes", garbage(MODEL)),
    evaluate("a hundred flipped bits", flipped(MODEL)),
    evaluate("no metadata", edited_tensors(MODEL, lambda tensors: None, {"a": "b"}), "not a model file"),
    evaluate("metadata that is a list", edited_tensors(MODEL, lambda tensors: None, {"training": "[1]"})),
    evaluate("another variant's", copied("model.safetensors"), "variant is shared, expected mosaic"),
    Case(
        "model: another variant's with its train.json",
        "evaluate mosaic 42 B",
        copied("model.safetensors", "train.json"),
        ("runs/mosaic/42/train.json", "of shared with seed 42", "dvc repro train"),
    ),
    evaluate(
        "another seed's",
        rewritten(MODEL, lambda content: content.replace(rb"\"seed\": 42", rb"\"seed\": 43")),
        "seed is 43, expected 42",
    ),
    evaluate("one of another configuration", replaced("configs/mosaic.yaml", "lr: 0.001", "lr: 0.002"), "md5.config"),
    evaluate("one of other weights", first_value(0.5), "md5.weights"),
    evaluate("a tensor that would be broadcast", head(torch.zeros(1)), HEAD, "is [1, torch.float32], expected [2,"),
    evaluate("a tensor of two dimensions", head(torch.zeros(2, 1)), HEAD, "is [2, 1, torch.float32]"),
    evaluate("a tensor of doubles", head(torch.zeros(2, dtype=torch.float64)), HEAD, "torch.float64"),
    evaluate("a tensor of whole numbers", head(torch.zeros(2, dtype=torch.int64)), HEAD, "torch.int64"),
    evaluate("a value that is none", head(torch.tensor([0.0, torch.nan])), HEAD, "not finite"),
    evaluate("an infinite value", head(torch.tensor([torch.inf, 0.0])), HEAD, "not finite"),
    evaluate("a tensor missing", head(None), HEAD, "only one of model and file"),
    evaluate(
        "a tensor too many",
        edited_tensors(MODEL, lambda t: t.update({"student.x": torch.zeros(1), "teacher.x": torch.zeros(1)})),
        "['x']",
    ),
    *(
        evaluate(f"{name}, analysed", damage, says, command="analyse mosaic 42")
        for name, damage, says in (
            ("a tensor that would be broadcast", head(torch.zeros(1)), HEAD),
            ("another variant's", copied("model.safetensors"), "variant is shared"),
            ("a hundred flipped bits", flipped(MODEL, seed=1), MODEL),
        )
    ),
    weights("missing", missing(BACKBONE), "no such file"),
    weights("a folder", folder(BACKBONE)),
    weights("empty", empty(BACKBONE)),
    weights("half of it", truncated(BACKBONE)),
    weights("metadata that is a list", edited_tensors(BACKBONE, lambda tensors: None, {"provenance": "[1]"})),
    weights("a value that is none", first_value(torch.nan), "cls_token", "not finite"),
    weights("an infinite value", first_value(torch.inf), "cls_token", "not finite"),
    weights("half precision", first_value(0.5, torch.float16), "cls_token", "torch.float16"),
    weights("a tensor missing", edited_tensors(BACKBONE, lambda t: t.pop("cls_token")), "cls_token"),
    weights("a tensor missing, evaluated", both(folder(BACKBONE)), command="evaluate mosaic 42 A"),
]
