"""What a variant is among the others, which trains nothing: so its test alone depends on it, and on no other's."""

import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.layout import role_file
from mosaic_pipeline.reading import read_record

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.params import Segmentation


class Role(BaseModel):
    """Whether it is the main variant, with which others are compared, and whether its predictions are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    main: bool
    predictions: bool


def write_role(section: "Segmentation", variant: str) -> Role:
    """Write and return the role of a variant."""
    main = variant == next(iter(section.ablation.run), None)
    role = Role(main=main, predictions={"all": True, "main": main, "none": False}[section.evaluate.write])
    write_text(role_file(variant), json.dumps(role.model_dump()) + "\n")
    return role


def read_role(variant: str) -> Role:
    """Return the role of a variant. Raises PipelineError if the file is missing or none."""
    return read_record(role_file(variant), Role)
