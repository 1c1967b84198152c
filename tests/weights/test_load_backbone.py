import pytest
import torch
from safetensors.torch import load_file, save_file

from mosaic_pipeline.config import Architecture
from mosaic_pipeline.data.augment import STATISTICS
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.weights.convert import save_backbone
from mosaic_pipeline.weights.fill import fill
from mosaic_pipeline.weights.load import load_backbone
from mosaic_pipeline.weights.source import locate

TINY = {"backbone": "test_vit", "patch_size": 16, "image_size": 32}


def architecture(**changes):
    nothing = dict.fromkeys(Architecture.model_fields)
    rest = {"normalisation": "half", "embedding_norm": False, "frozen": True}
    return Architecture(**nothing | TINY | rest | changes)


@pytest.fixture
def saved(tmp_path):
    model = build_backbone(**TINY)
    path = tmp_path / "backbone.safetensors"
    save_backbone(model, path, TINY | {"source": "random", "sha256": "0" * 64})
    return path, model


def test_a_loaded_backbone_equals_the_one_that_was_saved(saved):
    path, model = saved
    loaded = load_backbone(path, architecture())
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded.eval()(images), model.eval()(images))


@pytest.mark.parametrize("arguments", [{}, {"init_values": 1e-5}])
def test_an_untrained_backbone_is_the_one_that_is_written_without_weights(tmp_path, monkeypatch, arguments):
    """Plain, by Google's layout, and with layer scale, by timm's names."""
    monkeypatch.chdir(tmp_path)
    sizes = TINY | ({"backbone_args": arguments} if arguments else {})
    model = build_backbone(**sizes)
    save_backbone(model, tmp_path / "given.safetensors", sizes | {"source": "some.safetensors", "sha256": "0" * 64})
    fill(model, locate(None, None, model, "test_vit").path, "test_vit")
    loaded = load_backbone(tmp_path / "given.safetensors", architecture(**sizes, pretrained=False)).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())
    given = load_backbone(tmp_path / "given.safetensors", architecture(**sizes, pretrained=None)).state_dict()
    assert not torch.equal(given["cls_token"], loaded["cls_token"])


def test_loading_draws_no_random_numbers(saved):
    torch.manual_seed(0)
    load_backbone(saved[0], architecture())
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))


@pytest.mark.parametrize(
    ("change", "found", "expected"),
    [
        ({"backbone": "vit_tiny_patch16_224"}, "test_vit with", "vit_tiny_patch16_224 with"),
        ({"image_size": 64}, "at 32 pixels", "at 64 pixels"),
        ({"patch_size": 8}, "patches of 16", "patches of 8"),
    ],
)
def test_a_file_of_another_backbone_is_refused_saying_expected_and_found(saved, change, found, expected):
    with pytest.raises(PipelineError, match=f"holds .*{found}.*, expected .*{expected}.*dvc repro weights"):
        load_backbone(saved[0], architecture(**change))


def test_a_file_whose_tensors_do_not_fit_its_own_label_is_refused_in_one_line(saved):
    path, _ = saved
    label = {"provenance": '{"backbone": "test_vit", "patch_size": 16, "image_size": 32}'}
    tensors = load_file(path)
    del tensors["cls_token"]
    save_file(tensors, path, label)
    with pytest.raises(PipelineError, match=r"^[^\n]*Missing key\(s\)[^\n]*cls_token[^\n]*dvc repro weights[^\n]*$"):
        load_backbone(path, architecture())


def test_a_missing_a_damaged_and_a_foreign_file_name_the_stage_that_writes_it(saved, tmp_path):
    path, model = saved
    with pytest.raises(PipelineError, match="no such file; `dvc repro weights`"):
        load_backbone(tmp_path / "none.safetensors", architecture())
    save_file(model.state_dict(), tmp_path / "foreign.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:-5])
    (tmp_path / "empty.safetensors").touch()
    for name in ("foreign", "cut", "empty"):
        with pytest.raises(PipelineError, match=f"{name}.safetensors: not a file of the weights stage"):
            load_backbone(tmp_path / f"{name}.safetensors", architecture())


AUTO = {"normalisation": "auto"}


def test_mean_and_std_come_with_the_weights_where_auto_asks_for_them(saved):
    path, model = saved
    assert load_backbone(path, architecture(**AUTO)).statistics == STATISTICS["half"]  # of random weights
    save_backbone(model, path, TINY | {"source": "a", "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]})
    assert load_backbone(path, architecture(**AUTO)).statistics == ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert not hasattr(load_backbone(path, architecture()), "statistics")


@pytest.mark.parametrize(
    "said", [{}, {"mean": [0.5] * 3}, {"mean": 0.5, "std": 0.5}, {"mean": ["a"] * 3, "std": [1] * 3}]
)
def test_weights_that_do_not_say_their_mean_and_std_are_refused_with_auto(saved, said):
    path, model = saved
    save_backbone(model, path, TINY | {"source": "vit.pth"} | said)
    load_backbone(path, architecture())
    with pytest.raises(
        PipelineError, match=r"^model\.normalisation: auto, but vit\.pth does not say .* half, imagenet, "
    ):
        load_backbone(path, architecture(**AUTO))


def test_a_backbone_of_other_arguments_is_refused(saved):
    path, model = saved
    with pytest.raises(PipelineError, match=r"at 32 pixels, expected test_vit .* at 32 pixels \({'depth': 2}\); "):
        load_backbone(path, architecture(backbone_args={"depth": 2}))
    save_backbone(model, path, TINY | {"backbone_args": {"depth": 2}})
    with pytest.raises(PipelineError, match=r"at 32 pixels \({'depth': 2}\), expected test_vit .* at 32 pixels; "):
        load_backbone(path, architecture())


def test_a_backbone_of_these_arguments_is_loaded(saved):
    path, _ = saved
    model = build_backbone(**TINY, backbone_args={"depth": 2, "init_values": 0.1})
    save_backbone(model, path, TINY | {"backbone_args": {"depth": 2, "init_values": 0.1}})
    loaded = load_backbone(path, architecture(backbone_args={"depth": 2, "init_values": 0.1}))
    assert loaded.state_dict().keys() == model.state_dict().keys()
