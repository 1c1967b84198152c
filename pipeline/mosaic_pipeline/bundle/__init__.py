"""A trained model as one folder that needs neither the repository nor DVC: `load_bundle(path).predict(...)`."""

from mosaic_pipeline.bundle.inputs import InputError
from mosaic_pipeline.bundle.load import Bundle, load_bundle

__all__ = ["Bundle", "InputError", "load_bundle"]
