import pytest
import torch
from timm.layers import Attention

from mosaic_pipeline.model.attention import self_attention


@pytest.fixture
def attention() -> Attention:
    torch.manual_seed(0)
    return Attention(24, num_heads=3, qkv_bias=True).eval()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_attention_is_timms_and_in_the_last_block_that_of_the_class_token(attention, precision):
    x = torch.randn(2, 7, 24, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        expected = attention(x)
        all_tokens, class_token = self_attention(attention, x, last=False), self_attention(attention, x, last=True)
    assert all_tokens.dtype == class_token.dtype == precision
    close = {"rtol": 0.02, "atol": 0.01} if precision == torch.bfloat16 else {}
    torch.testing.assert_close(all_tokens, expected, **close)
    torch.testing.assert_close(class_token, expected[:, :1], **close)
    gradients = [torch.autograd.grad(y.float().square().sum(), x, retain_graph=True)[0] for y in (expected, all_tokens)]
    torch.testing.assert_close(*gradients, **({"rtol": 0.1, "atol": 0.03} if close else {}))


def test_on_the_cpu_attention_is_computed_in_fp32_under_autocast(attention, monkeypatch):
    seen = []
    fused = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        "mosaic_pipeline.model.attention.F.scaled_dot_product_attention",
        lambda *qkv: seen.append({part.dtype for part in qkv}) or fused(*qkv),
    )
    with torch.autocast("cpu", torch.bfloat16):
        self_attention(attention, torch.randn(2, 7, 24), last=False)
    assert seen == [{torch.float32}]
