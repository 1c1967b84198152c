"""A pretrained DINOv2 in timm's names, where it lies on this machine; it is no part of the repository."""

import os
from pathlib import Path

import pytest
import torch
from timm import create_model

from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.model.mosaic import build_mosaic
from mosaic_pipeline.weights.fill import fill

NAME = "vit_small_patch14_dinov2"
BESIDE = Path(__file__).parents[3] / "shared/weights/vit_small_patch14_dinov2.safetensors"
FILE = Path(os.environ.get("MOSAIC_REAL_WEIGHTS", BESIDE))


@pytest.mark.skipif(not FILE.exists(), reason=f"no {FILE}, and MOSAIC_REAL_WEIGHTS names no other")
@pytest.mark.parametrize("image_size", [98, 112])
def test_features_of_a_pretrained_vit_are_those_of_timms_own_loading(make_config, image_size):
    vit = build_backbone(NAME, 14, image_size)
    contents = fill(vit, FILE, NAME)
    own = {"pretrained_cfg_overlay": {"file": str(FILE)}, "num_classes": 0, "img_size": image_size}
    reference = create_model(NAME, pretrained=True, **own).eval()
    images = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    model = build_mosaic(
        make_config(model__backbone=NAME, model__patch_size=14, model__image_size=image_size), vit, seed=0
    )
    with torch.no_grad():
        expected = reference.forward_features(images)
        torch.testing.assert_close(vit.forward_features(images), expected, rtol=0, atol=1e-5)
        # The last block computes its class token alone, so sums are of another order.
        torch.testing.assert_close(model(images, "retinamnist")[0], expected[:, 0], rtol=0, atol=3e-5)
    assert (contents.left_out, contents.tokens) == ((), 1 + 37 * 37)
