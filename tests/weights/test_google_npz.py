import io
import re
import tracemalloc
import zipfile

import numpy as np
import pytest

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.weights.google_npz import Layout, check_npz, random_npz

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
    refused(
        check,
        arrays | {"cls": np.array([{"a": 1}], dtype=object)},
        "cls is object [1]: Python objects, which are never loaded",
    )


@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [
        (np.nan, np.float32, "not finite"),
        (np.inf, np.float16, "not finite"),
        (1e300, np.float64, "beyond float32"),
        (-1e39, np.float64, "beyond float32"),
    ],
)
def test_weights_that_are_not_finite_or_would_not_be_in_float32_are_refused(arrays, check, value, dtype, said):
    arrays[QUERY] = arrays[QUERY].astype(dtype)
    arrays[QUERY][0, 0, 0] = value
    refused(check, arrays, QUERY, said)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_half_and_double_precision_are_taken(arrays, check, dtype):
    assert check({name: array.astype(dtype) for name, array in arrays.items()}).tokens == 5


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.complex64, np.longdouble, ">f4", "V4", "S3"])
def test_weights_that_are_no_floats_of_this_machine_are_refused(arrays, check, dtype):
    refused(check, arrays | {"cls": np.zeros((1, 1, 16), dtype)}, f"cls holds {np.dtype(dtype)}, expected floats")


def test_a_file_without_a_vit_is_refused(check):
    refused(check, {"images": np.zeros(3)}, "no array embedding/kernel")


def zipped(members: dict[str, bytes], compression=zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def packed(arrays, compression=zipfile.ZIP_STORED, **changes: bytes) -> bytes:
    return zipped({f"{name}.npy": npy(array) for name, array in arrays.items()} | changes, compression)


def encrypted(content: bytes) -> bytes:
    """Set the bit of encryption in every header of a zip file."""
    changed = bytearray(content)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for match in re.finditer(re.escape(mark), content):
            changed[match.start() + offset] |= 1
    return bytes(changed)


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def long_header(array: np.ndarray) -> bytes:
    """An array behind a header of 60,000 characters, which numpy reads only with its advice followed."""
    header = str({"descr": "<f4", "fortran_order": False, "shape": array.shape, "": ""}).encode() + b" " * 60_000
    return b"\x93NUMPY\x02\x00" + (len(header) + 1).to_bytes(4, "little") + header + b"\n" + array.tobytes()


def nested_header() -> bytes:
    header = b"[" * 9000 + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


DAMAGED = {
    "empty": (lambda arrays: b"", "the file is empty"),
    "text": (lambda arrays: b"not a zip", "File is not a zip file"),
    "half": (lambda arrays: packed(arrays)[: len(packed(arrays)) // 2], "File is not a zip file"),
    "a flipped bit": (lambda arrays: flipped(packed(arrays)), "Bad CRC-32"),
    "a flipped bit of a deflated file": (lambda arrays: flipped(packed(arrays, zipfile.ZIP_DEFLATED)), ""),
    "a single array": (lambda arrays: npy(arrays["cls"]), "a single array"),
    "bzip2": (lambda arrays: packed(arrays, zipfile.ZIP_BZIP2), "compressed with bzip2, which numpy does not write"),
    "lzma": (lambda arrays: packed(arrays, zipfile.ZIP_LZMA), "compressed with lzma, which numpy does not write"),
    "encrypted": (lambda arrays: encrypted(packed(arrays)), "is encrypted"),
    "twice": (lambda arrays: packed(arrays, **{"cls": npy(arrays["cls"])}), "cls is in it twice"),
    "no array": (lambda arrays: packed(arrays, **{"cls.npy": b"pickle"}), "cls does not begin like an array"),
    "a long header": (lambda arrays: packed(arrays, **{"cls.npy": long_header(arrays["cls"])}), "does not begin like"),
    "a deep header": (lambda arrays: packed(arrays, **{"cls.npy": nested_header()}), "does not begin like an array"),
    "a short array": (lambda arrays: packed(arrays, **{"cls.npy": npy(arrays["cls"])[:-4]}), "holds 60 bytes where"),
}


@pytest.mark.parametrize(("made", "said"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_or_foreign_file_is_refused_in_one_line_without_numpys_advice(tmp_path, arrays, made, said):
    path = tmp_path / "vit.npz"
    path.write_bytes(made(arrays))
    with pytest.raises(PipelineError) as error:
        check_npz(path, LAYOUT, "vit_small")
    message = str(error.value)
    assert message.startswith(f"{path}: not an intact npz file (")
    assert said in message
    assert message.endswith(
        "; model.weights must name an intact npz of a ViT in Google's layout, or be null for random weights"
    )
    assert not re.search("pickle|unsafe|trust|\n", message)


def test_arrays_far_beyond_the_layout_are_refused_before_they_are_unpacked(tmp_path, arrays, monkeypatch):
    """40 MB of zeros in 40 kB: told by the header. What says it is more than a gigabyte is not opened at all."""
    path = tmp_path / "vit.npz"
    path.write_bytes(packed(arrays | {QUERY: np.zeros((16, 2, 320_000), np.float32)}, zipfile.ZIP_DEFLATED))
    tracemalloc.start()
    with pytest.raises(PipelineError, match=r"query/kernel is \[16, 2, 320000\], expected \[16, 2, 8\]"):
        check_npz(path, LAYOUT, "vit_small")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000

    monkeypatch.setattr("mosaic_pipeline.arrays.BOMB_BYTES", 10_000_000)
    with pytest.raises(PipelineError, match=r"\(\d+ bytes that say they unpack to \d+\)"):
        check_npz(path, LAYOUT, "vit_small")


def test_every_refusal_says_what_to_do(tmp_path, arrays, check):
    refusals = [
        {"embedding/kernel": None},
        {"cls": None},
        {"Transformer/gamma": np.zeros(3, np.float32)},
        {"cls": np.zeros((1, 2, 16), np.float32)},
        {"cls": np.zeros((1, 1, 16), np.int64)},
        {"cls": np.full((1, 1, 16), np.nan, np.float32)},
        {"embedding/kernel": np.zeros((4, 4, 3, 8), np.float32)},
    ]
    for change in refusals:
        changed = {name: array for name, array in (arrays | change).items() if array is not None}
        with pytest.raises(PipelineError, match=r"[;:] [^;:]*model\.weights must "):
            check(changed)
    with pytest.raises(PipelineError, match=r"none\.npz: no such file; model\.weights must "):
        check_npz(tmp_path / "none.npz", LAYOUT, "vit_small")
