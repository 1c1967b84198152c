"""What a training's run says of it from the start."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Subject:
    """A variant and seed to be trained, and why the variant is there.

    `parameters` decide the training, by dotted key of params.yaml; `config` is the configuration that they resolve to,
    as the text of `config_file`.
    """

    variant: str
    seed: int
    why: str
    parameters: Mapping[str, Any]
    config_file: Path
    config: str
