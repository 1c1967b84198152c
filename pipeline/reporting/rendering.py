"""Pages from templates: HTML files that need nothing else, each with the label of its data."""

from dataclasses import dataclass
from pathlib import Path

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
