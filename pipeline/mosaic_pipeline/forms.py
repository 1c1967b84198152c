"""The form of a dataset, as configurations and other files hold it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mosaic_pipeline.datasets import Dataset, Task
from mosaic_pipeline.reading import first_problem


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    dimension: Literal[2, 3]
    channels: Literal[1, 3]
    num_classes: int = Field(ge=2)
    task: Task
    sided: bool


def read_form(name: str, form: Any) -> Dataset:
    """Return the dataset of that name and `Dataset.form()`. Raises ValueError, with a line on why, if it is none."""
    try:
        return Dataset(name, **_Form.model_validate(form).model_dump())
    except ValidationError as error:
        raise ValueError(f"{name}: {first_problem(error)}") from None
