"""The library of the MOSAIC pipeline, and what is installed of it: `from mosaic_pipeline.bundle import load_bundle`."""

__version__ = "0.2.0.dev0"
