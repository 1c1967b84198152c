"""What kind of file weights are in, told by its content rather than by its name."""

import zipfile
from pathlib import Path
from typing import Literal

from mosaic_pipeline.errors import PipelineError

WAY_OUT = "model.weights must name an intact npz, safetensors or torch file of a ViT, or be null for random weights"

# What people have in the place of weights, by how it begins.
_STRANGERS = {
    b"\x93NUMPY": "a single array",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"version https://git-lfs": "a Git LFS pointer, in whose place `git lfs pull` puts the file",
    b"\x1f\x8b": "a gzip archive, to be unpacked first",
    b"GGUF": "a GGUF file",
    b"\x08\x07": "an ONNX file",
    b"\x08\x08": "an ONNX file",
}
_LARGEST_HEADER = 100_000_000  # of safetensors' own reader


def kind_of(path: Path, way_out: str = WAY_OUT) -> Literal["npz", "safetensors", "torch"]:
    """Return the kind of a file of weights. Raises PipelineError, with the way out, if it is of none."""
    with open(path, "rb") as file:
        head = file.read(256)
    if head.startswith(b"PK"):
        return "torch" if _is_torch_zip(path, head) else "npz"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "torch"  # as before torch 1.6: pickles, which are read as such, but without their code
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LARGEST_HEADER:
        return "safetensors"
    if not head:
        raise PipelineError(f"{path}: the file is empty; {way_out}")
    found = next((kind for begin, kind in _STRANGERS.items() if head.startswith(begin)), None)
    if found is None and head.lstrip().startswith(b"<"):
        found = "a page"
    raise PipelineError(f"{path}: {found or 'no npz, safetensors or torch file'}; {way_out}")


def _is_torch_zip(path: Path, head: bytes) -> bool:
    """Whether a zip holds what torch.save writes; of one that is cut off only its first member is known."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        names = [head[30 : 30 + int.from_bytes(head[26:28], "little")].decode(errors="replace")]
    return any(name.endswith(("/data.pkl", "/byteorder", "/.format_version")) for name in names)
