"""What a training of segmentation was made from, by content."""

from typing import TYPE_CHECKING

from mosaic_pipeline.digest import md5_file
from mosaic_pipeline.layout import SLICES, SWIN
from mosaic_pipeline.lineage import Lineage
from mosaic_pipeline.segmentation.data.slices import read_meta
from mosaic_pipeline.weights.load import read_provenance

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.config import Config


def read_lineage(config_md5: str, config: "Config") -> Lineage:
    """Return the lineage of a training whose configuration has this md5. Raises PipelineError if a file is missing.

    The digest of a set is the md5 of its meta.json, which holds those of the arrays.
    """
    provenance = read_provenance(SWIN)
    return Lineage(
        md5={"config": config_md5, "weights": md5_file(SWIN)},
        data={name: md5_file(SLICES / name / "meta.json") for name in config.datasets},
        weights={key: value for key, value in provenance.items() if key in ("source", "sha256")},
        sources={name: read_meta(SLICES / name).source for name in config.datasets},
    )
