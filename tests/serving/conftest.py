"""The bundle of the tiny finished project, asked in this process."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from mosaic_pipeline.bundle import Bundle, load_bundle
from mosaic_pipeline.serving.app import build_app

HERE = "http://127.0.0.1"
MOST_BYTES = 8_000_000


@pytest.fixture(scope="session")
def bundle(finished: Path) -> Bundle:
    return load_bundle(finished / "bundles/mosaic-42", "cpu")


@pytest.fixture(scope="session")
def client(bundle: Bundle) -> TestClient:
    return TestClient(build_app(bundle, MOST_BYTES), base_url=HERE)
