import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.weights.account import account, hint
from mosaic_pipeline.weights.google_npz import Contents, layout_of, random_npz
from mosaic_pipeline.weights.load import read_provenance
from mosaic_pipeline.weights.source import Source
from stages.weights import main

PARAMS = Path(__file__).parents[2] / "params.yaml"
MODEL = {"backbone": "test_vit", "patch_size": 16, "image_size": 32, "weights": None, "weights_sha256": None}


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Run the stage in a folder of its own, on the committed params with other values in `model`."""

    def run(variants=None, run=("mosaic",), **changes):
        params = yaml.safe_load(PARAMS.read_text())
        params["ablation"]["run"] = list(run)
        params["model"] |= MODEL | changes
        for key, value in (variants or {}).items():
            params["ablation"]["variants"]["mosaic"][key] = value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        main()

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(sys, "argv", ["weights"])
    return run


def test_two_runs_write_the_same_bytes_and_one_line_that_accounts_for_the_arrays(stage, tmp_path, capsys):
    file = tmp_path / "weights/backbone.safetensors"
    stage()
    first, written = capsys.readouterr().out, file.read_bytes()
    file.unlink()
    stage()
    assert capsys.readouterr().out == first
    assert file.read_bytes() == written

    model = build_backbone("test_vit", 16, 32)
    assert first.count("\n") == 1
    assert f" {sum(p.numel() for p in model.parameters()):,} parameters from random " in first
    assert first.endswith(f" {len(list(layout_of(model).arrays()))} arrays used, left out: none\n")
    provenance = read_provenance(file)
    assert provenance.pop("sha256") in first
    assert provenance == {"backbone": "test_vit", "patch_size": 16, "image_size": 32, "source": "random"}


def test_the_file_names_its_source_without_a_folder_and_resized_positions_are_said(stage, tmp_path, capsys):
    path = tmp_path / "vit.npz"
    random_npz(path, layout_of(build_backbone("test_vit", 16, 64)), seed=5)
    stage(weights=str(path))
    assert capsys.readouterr().out.endswith(
        ", left out: none, positions resized from 17 to 5, trained by mean and std half according to Google's recipe\n"
    )
    provenance = read_provenance(Path("weights/backbone.safetensors"))
    assert provenance["source"] == "vit.npz"
    assert str(tmp_path) not in json.dumps(provenance)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": "test_vitt"}, "model.backbone: test_vitt is no model of timm; did you mean test_vit"),
        ({"patch_size": 8}, "model.patch_size: test_vit has patches of 16 pixels, expected 8"),
        ({"weights": "none.npz"}, "none.npz: no such file"),
        ({"weights": "narrow.npz"}, "width 16, not the 64 of test_vit"),
        ({"image_size": 33}, "params.yaml: model.image_size: 33"),
    ],
)
def test_what_a_user_can_mend_is_said_in_one_line_and_nothing_is_written(stage, tmp_path, changes, said):
    layout = layout_of(build_backbone("test_vit", 16, 32))
    random_npz(tmp_path / "narrow.npz", type(layout)(**vars(layout) | {"width": 16}), seed=0)
    with pytest.raises(PipelineError) as error:
        stage(**changes)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "weights").exists()


def bare_file(tmp_path):
    state = build_backbone("test_vit", 16, 32).state_dict()
    save_file({name: tensor.half() for name, tensor in state.items()}, tmp_path / "vit.safetensors")
    return str(tmp_path / "vit.safetensors")


def test_a_bare_file_does_not_say_its_mean_and_std_which_is_refused_with_auto_in_any_variant(stage, tmp_path):
    weights = bare_file(tmp_path)
    for auto in ({"normalisation": "auto"}, {"variants": {"model.normalisation": "auto"}}):
        with pytest.raises(
            PipelineError, match=r"^model\.normalisation: auto, but vit\.safetensors does not say by which"
        ):
            stage(weights=weights, **auto)
        assert not (tmp_path / "weights").exists()
    stage(weights=weights, normalisation="imagenet")
    assert "mean" not in read_provenance(Path("weights/backbone.safetensors"))


def test_images_of_weights_that_do_not_say_their_mean_and_std_are_said_to_be_normalised_by_a_guess(
    stage, tmp_path, capsys
):
    weights = bare_file(tmp_path)
    stage(weights=weights, normalisation="clip")
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning == (
        "warning: vit.safetensors does not say by which mean and std it was trained; images are normalised by clip, "
        "as model.normalisation says (timm's own weights of test_vit were trained by half)"
    )
    with pytest.raises(PipelineError, match=r"must be one of half, .* \(timm's own weights of test_vit were trained"):
        stage(weights=weights, normalisation="auto")
    stage(normalisation="clip")
    assert capsys.readouterr().err == ""


def test_tags_of_timm_that_do_not_agree_and_names_without_one_give_no_hint():
    source = Source(Path("vit.pth"), "vit.pth", "0")
    for name in ("vit_base_patch16_224", "vit_small_patch16_18x2_224"):
        assert hint(name, source) == ""
    assert hint("test_vit", Source(Path("a"), "a", "0", found_in="it says so")).startswith(" (it says so; timm's own ")


@pytest.mark.parametrize(
    ("base", "override", "warned"),
    [
        ("imagenet", None, ["is imagenet, but"]),
        ("half", "imagenet", ["is imagenet in mosaic, but"]),
        ("imagenet", "half", ["is imagenet in shared, but"]),
        ("imagenet", "clip", ["is imagenet in shared, but", "is clip in mosaic, but"]),
        ("clip", "auto", ["is clip in shared, but"]),
        ("half", "auto", []),
    ],
)
def test_each_variant_that_runs_is_warned_of_another_mean_and_std(stage, tmp_path, capsys, base, override, warned):
    random_npz(tmp_path / "vit.npz", layout_of(build_backbone("test_vit", 16, 32)), seed=5)
    changed = {"model.normalisation": override} if override else {}
    stage(weights="vit.npz", normalisation=base, run=["shared", "mosaic"], variants=changed)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(warned)
    for line in warned:
        assert sum(line in each for each in lines) == 1


def test_a_file_that_is_called_random_is_not_taken_for_random_weights(stage, tmp_path, capsys):
    Path(bare_file(tmp_path)).rename(tmp_path / "random")
    with pytest.raises(PipelineError, match=r"^model\.normalisation: auto, but random \(a file\) does not say"):
        stage(weights="random", normalisation="auto")
    stage(weights="random", normalisation="imagenet")
    assert read_provenance(Path("weights/backbone.safetensors"))["source"] == "random (a file)"
    assert capsys.readouterr().err.startswith("warning: random (a file) does not say")


def test_of_a_bare_file_it_is_said_that_heads_and_activation_are_the_named_models(stage, tmp_path, capsys):
    told = "heads and activation taken for those of test_vit, because nothing says them"
    stage(weights=bare_file(tmp_path))
    assert told in capsys.readouterr().out
    stage()
    stage(backbone_args={"init_values": 0.1})
    random_npz(tmp_path / "vit.npz", layout_of(build_backbone("test_vit", 16, 32)), seed=5)
    stage(weights="vit.npz")
    assert "heads" not in capsys.readouterr().out
    vit = build_backbone("test_vit", 16, 32)
    for known, count in ((True, 0), (False, 1)):
        source = Source(Path("a"), "lab/vit/model.safetensors", "0", told=known)
        assert account(vit, "test_vit", source, Contents((), (), 5, family="timm")).count(told) == count


def test_googles_files_say_theirs_and_random_weights_have_none(stage, tmp_path, capsys):
    random_npz(tmp_path / "vit.npz", layout_of(build_backbone("test_vit", 16, 32)), seed=5)
    stage(weights="vit.npz", normalisation="imagenet")
    (warning,) = capsys.readouterr().err.splitlines()
    said = "but vit.npz was trained by mean and std half according to Google's recipe, which auto takes"
    assert warning == f"warning: model.normalisation is imagenet, {said}"
    stage(weights="vit.npz", normalisation="auto")
    assert capsys.readouterr().err == ""
    provenance = read_provenance(Path("weights/backbone.safetensors"))
    assert (provenance["mean"], provenance["std"]) == ([0.5] * 3, [0.5] * 3)
    stage(normalisation="auto")
    assert "mean" not in read_provenance(Path("weights/backbone.safetensors"))


def test_arguments_of_the_backbone_are_noted_and_random_weights_are_drawn_for_all_of_it(stage, tmp_path, capsys):
    file = Path("weights/backbone.safetensors")
    arguments = {"init_values": 1e-5, "reg_tokens": 2, "qk_norm": True}
    written = []
    for _ in range(2):
        stage(backbone_args=arguments)
        written.append(file.read_bytes())
    assert written[0] == written[1]
    assert read_provenance(file)["backbone_args"] == arguments
    tensors = load_file(file)
    assert tensors["blocks.0.ls1.gamma"].unique().tolist() == [1.0]
    assert tensors["reg_token"].std() == pytest.approx(0.02, rel=0.2)
    assert capsys.readouterr().out.splitlines()[0].endswith(f" {len(tensors)} arrays used, left out: none")


def test_many_tensors_that_are_left_out_are_counted(stage, tmp_path, capsys):
    state = build_backbone("test_vit", 16, 32).state_dict()
    beside = {f"text.{index}.weight": torch.ones(1) for index in range(9)} | {"scale": torch.ones(1)}
    torch.save({"visual": {"trunk": state}} | beside, tmp_path / "clip.pt")
    stage(weights="clip.pt")
    assert "left out: scale (1 tensor), text (9 tensors), found below visual.trunk" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone_args": {"init_value": 1}}, "backbone_args.init_value: unknown key; did you mean init_values?"),
        ({"backbone_args": {"depth": 0}}, "model.backbone_args.depth = 0"),
        ({"backbone_args": {"mlp_layer": "ConvMlp"}}, "model.backbone_args.mlp_layer = 'ConvMlp'"),
        (
            {"backbone_args": {"num_heads": 7}},
            "timm cannot build test_vit at 32 px with {'num_heads': 7} (dim should be",
        ),
        (
            {"backbone_args": {"act_layer": "nosuch"}},
            "timm cannot build test_vit at 32 px with {'act_layer': 'nosuch'}",
        ),
        ({"backbone_args": 3}, "model.backbone_args"),
        ({"backbone": "vit_base_patch16_siglip_224"}, "vit_base_patch16_siglip_224 has no class token"),
        ({"normalisation": "openai"}, "model.normalisation"),
        ({"weights": "hub:"}, "model.weights: hub:"),
        ({"weights": "hub:nosuch"}, "model.weights: hub:nosuch: timm knows no such weights"),
    ],
)
def test_what_a_user_can_mend_in_the_backbone_is_said_in_one_line(stage, tmp_path, changes, said):
    with pytest.raises(PipelineError) as error:
        stage(**changes)
    assert said in str(error.value)
    assert not (tmp_path / "weights").exists()
