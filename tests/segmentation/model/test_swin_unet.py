import pytest
import torch
from nets import TINY
from torch import nn

from mosaic_pipeline.segmentation.model.swin_unet import Expand, SwinUnet, grid_of


def make_trunk(**changed) -> SwinUnet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SwinUnet(**TINY | {"patch": 4} | changed)


def test_a_trunk_makes_a_feature_of_every_pixel():
    trunk = make_trunk(depths=(1, 2, 1), heads=(1, 2, 4), size=32)
    assert trunk(trunk.embed(torch.randn(2, 1, 32, 32))).shape == (2, 32, 32, 8)


@pytest.mark.parametrize("size", [256, 512])
def test_sizes_that_windows_of_seven_do_not_fill_run_too(size):
    shape = {"dim": 96, "depths": (2, 2, 2, 2), "heads": (3, 6, 12, 24), "window": 7, "size": size}
    with torch.device("meta"):
        trunk = make_trunk(**shape)
        assert trunk(trunk.embed(torch.empty(1, 1, size, size))).shape == (1, size, size, 96)
    # And a small one in numbers.
    small = make_trunk(window=7, size=size // 8)
    assert small(small.embed(torch.randn(1, 1, size // 8, size // 8))).isfinite().all()


def test_a_size_that_does_not_halve_often_enough_is_refused():
    assert grid_of(48, 4, 3) == [12, 6, 3]
    with pytest.raises(ValueError, match=r"56 pixels are no multiple of 16, patch x 2\^\(stages - 1\)"):
        make_trunk(depths=(1, 1, 1), heads=(1, 1, 1), size=56)


def test_the_decoder_gets_what_each_stage_of_the_encoder_got():
    trunk = make_trunk(depths=(1, 1, 1), heads=(1, 1, 1), size=32)
    entered, joined = [], []
    for stage in trunk.encoder:
        stage.register_forward_pre_hook(lambda stage, inputs: entered.append(inputs[0]))
    for join in trunk.join:
        join.register_forward_pre_hook(lambda join, inputs: joined.append(inputs[0]))
    trunk(trunk.embed(torch.randn(1, 1, 32, 32)))
    # The coarsest stage but one is joined first; the first half of the channels is what came from below.
    for inputs, skip in zip(joined, (entered[1], entered[0]), strict=True):
        assert torch.equal(inputs[..., inputs.shape[-1] // 2 :], skip)


def test_an_expanded_token_fills_its_own_square_row_by_row():
    expand = Expand(3, 5, 2)
    expand.norm = nn.Identity()
    x = torch.randn(1, 2, 3, 3)
    y, outputs = expand(x), expand.linear(x)
    assert y.shape == (1, 4, 6, 5)
    for row in range(4):
        for column in range(6):
            part = (row % 2 * 2 + column % 2) * 5
            assert torch.equal(y[0, row, column], outputs[0, row // 2, column // 2, part : part + 5])


def test_every_second_block_has_shifted_windows_unless_one_window_is_all_of_the_grid():
    trunk = make_trunk(depths=(2, 2), window=3, size=24)
    shifts = {name: block.shift_size for name, block in trunk.blocks()}
    assert shifts == {
        "encoder.0.0": (0, 0),
        "encoder.0.1": (1, 1),
        "encoder.1.0": (0, 0),
        "encoder.1.1": (0, 0),
        "decoder.0.0": (0, 0),
        "decoder.0.1": (1, 1),
    }


def test_rates_of_left_out_branches_grow_along_the_encoder_and_come_back_in_the_decoder():
    trunk = make_trunk(depths=(2, 2), drop_path=0.3)
    by_block = [0.0, 0.1, 0.2, 0.3, 0.0, 0.1]
    assert trunk.drop_rates == pytest.approx([rate for rate in by_block for _ in range(2)])
    assert len(trunk.paths()) == 12
    assert make_trunk().drop_rates == make_trunk().paths() == []
