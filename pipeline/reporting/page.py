"""The whole report as one HTML file that needs nothing else."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.reporting.origin import describe_origin
from pipeline.reporting.results import Results
from pipeline.reporting.sections import (
    datasets,
    headline,
    limits,
    parameters,
    published,
    setup,
    specialists,
    training,
)

# (module that builds the content and template that shows it, heading), in the order of the page.
SECTIONS = (
    (headline, "What the numbers say"),
    (setup, "What was run"),
    (datasets, "Datasets"),
    (published, "Published results"),
    (training, "Training"),
    (specialists, "Specialists"),
    (parameters, "Parameters"),
    (limits, "Limits and reproduction"),
)


def render_page(results: Results, revision: str) -> str:
    """Return the report as HTML: the same text for the same results and code revision."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = []
    for module, heading in SECTIONS:
        content = module.build(results)
        if content is not None:
            sections.append((module.__name__.rpartition(".")[2], heading, content))
    return environment.get_template("page.html").render(
        origin=describe_origin(results),
        main=results.main,
        facts=setup.facts(results, revision),
        revision=revision,
        sections=sections,
    )
