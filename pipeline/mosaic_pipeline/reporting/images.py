"""Test images as PNG in the page itself."""

import base64
import io

import numpy as np
from PIL import Image

MAX_HEIGHT = 64  # pixels; larger source images are reduced, or the page could not be mailed


def png_uri(image: np.ndarray, max_height: int = MAX_HEIGHT) -> str:
    """Return a data URI of an image [H,W] or [H,W,3] uint8, the same for the same pixels."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    if picture.height > max_height:
        width = round(picture.width * max_height / picture.height)
        picture = picture.resize((width, max_height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
