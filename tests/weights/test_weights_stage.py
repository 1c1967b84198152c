import json
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.errors import PipelineError
from pipeline.model.backbone import build_backbone
from pipeline.weights.google_npz import layout_of, random_npz
from pipeline.weights.load import read_provenance
from stages.weights import main

PARAMS = Path(__file__).parents[2] / "params.yaml"
MODEL = {"backbone": "test_vit", "patch_size": 16, "image_size": 32, "weights": None, "weights_sha256": None}


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """Run the stage in a folder of its own, on the committed params with other values in `model`."""

    def run(**changes):
        params = yaml.safe_load(PARAMS.read_text())
        params["model"] |= MODEL | changes
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
