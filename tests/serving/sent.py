"""Images as the files that people send, in base64."""

import base64
import gzip
import io
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def picture(pixels: np.ndarray, kind: str = "PNG", **options) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return in_base64(stream.getvalue())


def npy(values: np.ndarray, **options) -> str:
    stream = io.BytesIO()
    np.save(stream, values, **options)
    return in_base64(stream.getvalue())


def nifti(volume: np.ndarray, compressed: bool = True) -> str:
    """Write [D,H,W] as a scan that lies along RAS, whose first axis is the last one here."""
    content = nibabel.Nifti1Image(volume.transpose(2, 1, 0), np.eye(4)).to_bytes()
    return in_base64(gzip.compress(content) if compressed else content)


def test_images(project: Path, dataset: str) -> np.ndarray:
    return np.load(project / f"data/cached/test/{dataset}/test_images.npy")


test_images.__test__ = False  # no test
