"""What a test needs that no requirement of Python's brings: without it the test skips, and in CI it fails."""

import os

import pytest


def needs(condition: object, why: str) -> None:
    """Skip the test unless `condition` holds, saying why; fail it under MOSAIC_CI, where everything has to be there."""
    if condition:
        return
    if os.environ.get("MOSAIC_CI"):
        pytest.fail(f"{why}; MOSAIC_CI is set, so this is no reason to skip", pytrace=False)
    pytest.skip(why)
