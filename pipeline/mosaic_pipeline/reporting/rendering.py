"""Pages from templates: HTML files that need nothing else, each with the label of its data."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Origin:
    """What data numbers stand on: a short label, what it means in few words and in a sentence; `warning` if it should.

    Classification warns unless they are MedMNIST's.
    """

    label: str
    brief: str
    sentence: str
    warning: bool


def build_sections(modules: Iterable[tuple[ModuleType, str]], results: Any) -> list[tuple[str, str, Any]]:
    """Return name, heading and content of each section that has any: what its module's `build` makes of the results."""
    built = ((module.__name__.rpartition(".")[2], heading, module.build(results)) for module, heading in modules)
    return [section for section in built if section[2] is not None]


def render(template: str, origin: Origin, *folders: Path, **content: object) -> str:
    """Return a page: the same text for the same content. Templates of `folders` come before those that all share."""
    environment = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(origin=origin, **content)
