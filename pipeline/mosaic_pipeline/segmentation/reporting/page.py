"""The report of segmentation as HTML files that need nothing else: the ablation page, and a page for each set."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mosaic_pipeline.reporting import paging
from mosaic_pipeline.reporting.rendering import Origin, build_sections, render
from mosaic_pipeline.segmentation.reporting.figures.cases import case_dots, cases_shown
from mosaic_pipeline.segmentation.reporting.figures.volumes import volume_plot
from mosaic_pipeline.segmentation.reporting.origin import describe_origin
from mosaic_pipeline.segmentation.reporting.overlays import Picture, draw_all
from mosaic_pipeline.segmentation.reporting.results import Results
from mosaic_pipeline.segmentation.reporting.sections import (
    data,
    differences,
    experts,
    failures,
    gates,
    headline,
    limits,
    metrics,
    organs,
    parameters,
    setup,
    training,
    volumes,
    worst,
)
from mosaic_pipeline.segmentation.reporting.sentences import questions

TEMPLATES = Path(__file__).parent / "templates"
FIRST_PAGE = "../index.html"  # of the whole report

# (module that builds the content and template that shows it, heading), in the order of the page.
SECTIONS = (
    (headline, "The answer"),
    (differences, "Differences"),
    (organs, "Organ by organ"),
    (failures, "Missed and invented"),
    (worst, "The worst cases"),
    (metrics, "Metrics and conventions"),
    (volumes, "Volumes"),
    (experts, "Does the own expert matter?"),
    (gates, "What does the gate choose?"),
    (data, "Sets"),
    (parameters, "Parameters"),
    (training, "Training"),
    (setup, "What was run"),
    (limits, "Limits and reproduction"),
)


# Of these, what shows variants one by one is on further pages for those that the first has no room for.
FURTHER = (differences, organs, failures, metrics, experts, gates, parameters, training, setup)


def pages_of(results: Results) -> list[tuple[str, ...]]:
    """Return the variants of each page; the first one has the main variant and those that questions are about."""
    return paging.pages(results.variants, [results.main, *questions(results)])


def render_page(results: Results, revision: str) -> str:
    """Return index.html: the same text for the same results and code revision."""
    first, further = pages_of(results)[0], paging.further(pages_of(results))
    results = results.showing(first) if further else results
    sections = build_sections(SECTIONS, results)
    return _render(
        "segmentation.html",
        results,
        contents=[(name, heading) for name, heading, _ in sections],
        pages=[
            (FIRST_PAGE, "Classification"),
            *((f"{name}.html", results.title(name)) for name in results.datasets),
            *((name, paging.span(names)) for name, names in further.items()),
        ],
        shown=first,
        variants=results.variants,
        further=[(name, paging.span(names)) for name, names in further.items()],
        facts=setup.facts(results, revision),
        revision=revision,
        sections=sections,
    )


def render_further(results: Results, revision: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each further page, for the folder of index.html: one at a time, for there are many."""
    pages = paging.further(pages_of(results))
    for file, names in pages.items():
        of_page = results.showing(names)
        sections = build_sections([each for each in SECTIONS if each[0] in FURTHER], of_page)
        yield (
            file,
            _render(
                "variants_page.html",
                of_page,
                contents=[("comparisons", "In words"), *((name, heading) for name, heading, _ in sections)],
                **paging.framed(pages, file, ("index.html", "Segmentation")),
                comparisons=headline.in_words(of_page, names),
                facts=setup.facts(of_page, revision),
                revision=revision,
                sections=sections,
            ),
        )


def render_datasets(results: Results, revision: str) -> dict[str, str]:
    """Return the page of each set, by its name."""
    organs_of = {name: results.result(name).organs for name in results.datasets}
    pictures = draw_all(results.overlays, organs_of)
    return {
        name: _render(
            "dataset.html",
            results,
            (name,),
            contents=_contents(pictures.get(name, [])),
            pages=[
                ("index.html", "Segmentation"),
                *((f"{other}.html", results.title(other)) for other in results.datasets if other != name),
            ],
            title=results.title(name),
            facts=setup.trained_on(results, name),
            about=results.result(name),
            table_of_organs=metrics.organ_table(results, name),
            dots=case_dots(results, name),
            left_out=len(results.result(name).cases) - len(cases_shown(results, name)),
            volumes=volume_plot(results, name),
            pictures=pictures.get(name, []),
            definitions=metrics.definitions(),
            revision=revision,
        )
        for name in results.datasets
    }


def render_nothing(revision: str) -> str:
    """Return index.html where no variant of segmentation is run."""
    origin = Origin("Segmentation is off", "nothing was run", "Nothing was run.", warning=False)
    return render("off.html", origin, TEMPLATES, contents=[], pages=[(FIRST_PAGE, "Classification")], revision=revision)


def _contents(pictures: list[Picture]) -> list[tuple[str, str]]:
    found = [("organs", "Organs"), ("cases", "Cases"), ("volumes", "Volumes")]
    return [*found, *([("pictures", "Pictures")] if pictures else []), ("definitions", "Definitions")]


def _render(template: str, results: Results, datasets: Sequence[str] | None = None, **content: Any) -> str:
    origin = describe_origin(results, datasets)
    return render(template, origin, TEMPLATES, main=results.main, seed=results.seeds[0], **content)
