import copy

import pytest
import torch
from torch import nn

from mosaic_pipeline.model import linear
from mosaic_pipeline.model.linear import PointwiseLinear, use_pointwise

SHAPES = [(1, 1, 8), (1, 5, 8), (3, 1, 8), (3, 5, 8)]


@pytest.fixture(autouse=True, params=[True, False], ids=["in MKL", "in oneDNN"])
def library(request, monkeypatch):
    """Both libraries, whichever processor the tests run on."""
    monkeypatch.setattr(linear, "IN_MKL", request.param)


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def pair(request) -> tuple[nn.Linear, nn.Linear]:
    """A linear layer and a pointwise one with the same values."""
    plain = nn.Linear(8, 6, bias=request.param)
    pointwise = copy.deepcopy(plain)
    use_pointwise(pointwise)
    return plain, pointwise


def forward_and_gradients(layer: nn.Linear, shape: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).requires_grad_()
    y = layer(x)
    y.backward(torch.randn(y.shape, generator=generator, dtype=y.dtype))
    return [y, x.grad, *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pointwise_layer_maps_and_differentiates_as_a_linear_one_to_rounding(pair, shape):
    plain, pointwise = (forward_and_gradients(layer, shape) for layer in pair)
    assert isinstance(pair[1], PointwiseLinear)
    torch.testing.assert_close(pointwise, plain)


def test_tokens_need_not_lie_in_memory_one_after_another(pair):
    x = torch.randn(4, 8, 3).transpose(1, 2)[:, :2]
    assert not x.is_contiguous()
    torch.testing.assert_close(pair[1](x), pair[0](x))


@pytest.mark.parametrize("shape", [(1, 1, 192), (8, 65, 192)])
def test_under_bf16_autocast_it_is_bitwise_the_linear_layer(shape):
    # Large enough for the two kinds of product to sum in different orders.
    plain = nn.Linear(192, 768)
    pointwise = copy.deepcopy(plain)
    use_pointwise(pointwise)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = (forward_and_gradients(layer, shape) for layer in (plain, pointwise))
    assert found[0].dtype == torch.bfloat16
    assert all(torch.equal(*tensors) for tensors in zip(found, expected, strict=True))


def test_linear_layers_are_turned_at_any_depth_and_keep_their_tensors_and_names():
    model = nn.Sequential(nn.Linear(4, 4), nn.ModuleDict({"inner": nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2))}))
    names, tensors = list(model.state_dict()), list(model.parameters())
    use_pointwise(model)
    assert type(model[0]) is type(model[1]["inner"][1]) is PointwiseLinear
    assert type(model[1]["inner"][0]) is nn.LayerNorm
    assert list(model.state_dict()) == names
    assert all(now is before for now, before in zip(model.parameters(), tensors, strict=True))


def test_a_layer_that_is_more_than_linear_is_left_alone():
    attention = nn.MultiheadAttention(4, 1)
    kind = type(attention.out_proj)
    assert kind is not nn.Linear
    use_pointwise(attention)
    assert type(attention.out_proj) is kind


def test_fp32_products_on_a_cpu_go_to_the_library_that_is_faster_there(monkeypatch):
    convolved = []
    monkeypatch.setattr(linear, "pointwise", lambda x, weight, bias: convolved.append(x) or x)
    layer, x = PointwiseLinear(8, 8), torch.zeros(1, 2, 8)
    layer(x)
    assert bool(convolved) is not linear.IN_MKL
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(x)
    assert len(convolved) == (0 if linear.IN_MKL else 1)


@pytest.mark.parametrize(("maker", "intel"), [("GenuineIntel", True), ("AuthenticAMD", False)])
def test_the_maker_of_the_processor_is_what_the_system_tells(tmp_path, monkeypatch, maker, intel):
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor : 0\nvendor_id : {maker}\n")
    monkeypatch.setattr("builtins.open", lambda path, **_: told.open() if path == "/proc/cpuinfo" else None)
    assert linear.is_intel() is intel
