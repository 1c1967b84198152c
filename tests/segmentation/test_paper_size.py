"""The profile of the paper's size is the network of the paper's size."""

from pathlib import Path

import pytest

from mosaic_pipeline.params import parse_params
from mosaic_pipeline.profile import overlay
from mosaic_pipeline.segmentation.config import resolve
from mosaic_pipeline.segmentation.datasets import NAMED
from mosaic_pipeline.segmentation.description import describe

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("variant", "names", "total"),
    [
        ("dense", ("flare22",), 27_169_380),
        ("m4oe", ("flare22", "amos22_mr", "atlas23"), 58_486_830),
        ("released", ("flare22", "amos22_mr", "atlas23"), 60_432_132),
    ],
)
def test_it_has_the_published_number_of_parameters(variant, names, total):
    profile = (ROOT / "profiles/m4oe_paper.yaml").read_text()
    laid_over = overlay((ROOT / "params.yaml").read_text(), profile, "profiles/m4oe_paper.yaml")
    params = parse_params(laid_over, "params.yaml")
    config = resolve(params, variant, {name: NAMED[name] for name in names})
    assert describe(config, variant)["total"] == total
    assert (config.train.optimiser, config.train.schedule, config.train.batch_size) == ("sgd", "poly", 36)
