import re

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.weights.google_npz import Layout, check_npz, random_npz

LAYOUT = Layout(width=16, depth=2, heads=2, mlp_width=32, patch_size=4, tokens=5)
POSITIONS = "Transformer/posembed_input/pos_embedding"
QUERY = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel"


@pytest.fixture
def arrays(tmp_path):
    """The arrays of a small random file, to be spoilt."""
    random_npz(tmp_path / "whole.npz", LAYOUT, seed=1)
    with np.load(tmp_path / "whole.npz") as npz:
        return dict(npz)


@pytest.fixture
def check(tmp_path):
    def write_and_check(arrays, layout=LAYOUT):
        np.savez(tmp_path / "vit.npz", **arrays)
        return check_npz(tmp_path / "vit.npz", layout, "vit_small")

    return write_and_check


def refused(check, arrays, *parts):
    with pytest.raises(PipelineError) as error:
        check(arrays)
    message = str(error.value)
    assert "\n" not in message
    for part in ("vit.npz", *parts):
        assert part in message


def test_a_random_file_holds_exactly_the_layout(arrays):
    assert {name: array.shape for name, array in arrays.items()} == dict(LAYOUT.arrays())
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_random_files_of_the_same_seed_are_the_same_bytes_and_of_another_seed_are_not(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        random_npz(tmp_path / f"{name}.npz", LAYOUT, seed)
    a, b, c = ((tmp_path / f"{name}.npz").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_random_weights_are_the_same_numbers_on_every_machine(arrays):
    # Recorded once: PCG64's integers and exact float32 arithmetic, so any difference is a changed recipe.
    assert arrays[QUERY].ravel()[:2].tolist() == [-0.18415126204490662, -0.16600069403648376]


def test_random_weights_have_the_spread_that_the_docstring_states(tmp_path):
    random_npz(tmp_path / "wide.npz", Layout(192, 1, 3, 768, 16, 17), seed=0)
    with np.load(tmp_path / "wide.npz") as npz:
        std = {name: float(array.std()) for name, array in npz.items()}
        scales = {name: set(array.ravel()) for name, array in npz.items() if name.endswith(("scale", "bias", "cls"))}
    block = "Transformer/encoderblock_0"
    assert std["embedding/kernel"] == pytest.approx((16 * 16 * 3) ** -0.5, rel=0.02)
    assert std[POSITIONS] == pytest.approx(0.02, rel=0.05)
    for name in ("value/kernel", "out/kernel"):
        assert std[f"{block}/MultiHeadDotProductAttention_1/{name}"] == pytest.approx(192**-0.5, rel=0.02)
    for name in ("Dense_0", "Dense_1"):
        assert std[f"{block}/MlpBlock_3/{name}/kernel"] == pytest.approx((2 / (192 + 768)) ** 0.5, rel=0.02)
    assert all(values == ({1} if name.endswith("scale") else {0}) for name, values in scales.items())


def test_every_array_is_used_or_named_as_left_out(arrays, check):
    head = {"head/kernel": np.zeros((16, 3)), "head/bias": np.zeros(3), "pre_logits/kernel": np.zeros((16, 16))}
    contents = check(arrays | head)
    assert set(contents.used) == set(arrays)
    assert contents.left_out == ("head/kernel", "head/bias", "pre_logits/kernel")


def test_weights_nested_in_a_training_checkpoint_are_found(arrays, check):
    nested = {f"opt/target/{name}": array for name, array in arrays.items()}
    contents = check(nested | {"opt/target/head/bias": np.zeros(3), "opt/state/step": np.int64(7)})
    assert set(contents.used) == set(nested)
    assert contents.left_out == ("opt/target/head/bias", "opt/state/step")


@pytest.mark.parametrize(
    ("field", "other", "said"),
    [
        ("width", {"width": 8}, "width 8, not the 16"),
        ("depth", {"depth": 3}, "depth 3, not the 2"),
        ("depth", {"depth": 1}, "depth 1, not the 2"),
        ("heads", {"heads": 4}, "heads 4, not the 2"),
        ("mlp_width", {"mlp_width": 64}, "mlp width 64, not the 32"),
        ("patch_size", {"patch_size": 2}, "patch size 2, not the 4"),
    ],
)
def test_a_file_of_another_size_is_refused_saying_expected_and_found(tmp_path, field, other, said):
    sizes = {name: getattr(LAYOUT, name) for name in LAYOUT.__dataclass_fields__}
    random_npz(tmp_path / "other.npz", Layout(**sizes | other), seed=0)
    with pytest.raises(PipelineError, match=re.escape(said) + " of vit_small;"):
        check_npz(tmp_path / "other.npz", LAYOUT, "vit_small")


def test_a_missing_array_is_named(arrays, check):
    del arrays["Transformer/encoder_norm/scale"]
    refused(check, arrays, "no array Transformer/encoder_norm/scale")


def test_an_array_that_the_model_has_no_place_for_is_named(arrays, check):
    refused(check, arrays | {"Transformer/gamma": np.zeros(3)}, "unknown array Transformer/gamma")


def test_an_array_of_another_shape_is_refused(arrays, check):
    refused(check, arrays | {"cls": np.zeros((1, 2, 16), np.float32)}, "cls is [1, 2, 16]", "expected [1, 1, 16]")


def test_positions_of_another_square_grid_are_accepted_but_not_without_a_class_token(arrays, check):
    assert check(arrays | {POSITIONS: np.zeros((1, 10, 16), np.float32)}).tokens == 10
    refused(check, arrays | {POSITIONS: np.zeros((1, 9, 16), np.float32)}, "[1, 9, 16]", "expected [1, 5, 16]")


def test_an_object_array_is_refused_rather_than_unpickled(arrays, check):
    refused(check, arrays | {"cls": np.array([{"a": 1}], dtype=object)}, "Object arrays cannot be loaded")


@pytest.mark.parametrize(("value", "said"), [(np.nan, "not finite"), (np.inf, "not finite")])
def test_weights_that_are_not_finite_are_refused(arrays, check, value, said):
    arrays[QUERY][0, 0, 0] = value
    refused(check, arrays, QUERY, said)


def test_weights_that_are_not_floats_are_refused(arrays, check):
    refused(check, arrays | {"cls": np.zeros((1, 1, 16), np.int64)}, "cls holds int64")


def test_a_file_without_a_vit_is_refused(check):
    refused(check, {"images": np.zeros(3)}, "no array embedding/kernel")


def test_a_damaged_file_is_refused_in_one_line(tmp_path, arrays):
    path = tmp_path / "vit.npz"
    np.savez(path, **arrays)
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (
        b"",
        b"not a zip",
        whole[:middle],
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
    ):
        path.write_bytes(damaged)
        with pytest.raises(PipelineError, match=r"vit\.npz: not an intact npz file \([^\n]+\)$"):
            check_npz(path, LAYOUT, "vit_small")


def test_a_single_array_is_no_npz(tmp_path):
    with open(tmp_path / "vit.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(PipelineError, match="a single array"):
        check_npz(tmp_path / "vit.npz", LAYOUT, "vit_small")
