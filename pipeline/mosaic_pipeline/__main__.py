"""`python -m mosaic_pipeline`, where the command `mosaic` is not on PATH."""

from mosaic_pipeline.cli import main

main()
