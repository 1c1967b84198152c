"""Writing dvc.lock as DVC does, all stages at once: DVC reads and writes the whole file after each of them."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosaic_pipeline.atomic import write_text


def write_lock(path: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write entries in their order."""
    from dvc.utils.serialize import dumps_yaml

    write_text(path, dumps_yaml(OrderedDict(schema="2.0", stages=OrderedDict(entries))))
