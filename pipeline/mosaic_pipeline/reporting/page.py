"""The report as HTML files that need nothing else: the ablation page, and a page for each specialist."""

from collections.abc import Iterator

from mosaic_pipeline.reporting import paging
from mosaic_pipeline.reporting.cards import build_card
from mosaic_pipeline.reporting.comparisons import planned
from mosaic_pipeline.reporting.origin import describe_origin
from mosaic_pipeline.reporting.rendering import build_sections, render
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.sections import (
    branch,
    counterfactual,
    datasets,
    forgetting,
    gain,
    gates,
    gradients,
    headline,
    heatmap,
    limits,
    metrics,
    parameters,
    published,
    recognition,
    robustness,
    setup,
    similarity,
    specialists,
    training,
    transfer,
    variants,
)
from mosaic_pipeline.reporting.sentences import comparison_sentences

# (module that builds the content and template that shows it, heading), in the order of the page: the answer, where it
# holds, why, every number, and what stands behind them.
SECTIONS = (
    (headline, "The answer"),
    (variants, "Differences and costs"),
    (heatmap, "Where they differ"),
    (gain, "One model or one for each"),
    (counterfactual, "Does the own specialist matter?"),
    (gradients, "Do the groups follow the conflicts?"),
    (similarity, "How alike are the specialists?"),
    (branch, "How much do specialists add?"),
    (forgetting, "What does a round forget?"),
    (gates, "What does a learned gate choose?"),
    (transfer, "Does it transfer to other datasets?"),
    (robustness, "What do corrupted images cost?"),
    (recognition, "Which dataset is an image of?"),
    (datasets, "Every dataset"),
    (metrics, "Beyond ACC and AUC"),
    (specialists, "Specialists"),
    (published, "Published results"),
    (parameters, "Parameters"),
    (training, "Training"),
    (setup, "What was run"),
    (limits, "Limits and reproduction"),
)


# Of these, what shows variants one by one is on further pages for those that the first has no room for.
FURTHER = (
    *(variants, heatmap, counterfactual, gradients, similarity, branch, forgetting, gates, transfer, robustness),
    *(datasets, published, parameters, training, setup),
)


def pages_of(results: Results) -> list[tuple[str, ...]]:
    """Return the variants of each page; the first one has the main variant and the planned comparison."""
    return paging.pages(results.variants, [results.main, *filter(None, [planned(results)])])


def render_page(results: Results, revision: str, *, segmentation: bool = False) -> str:
    """Return index.html: the same text for the same results and code revision.

    It leads to the report of `segmentation`, if there is to be one.
    """
    first, further = pages_of(results)[0], paging.further(pages_of(results))
    results = results.showing(first) if further else results
    sections = build_sections(SECTIONS, results)
    return _render(
        "page.html",
        results,
        contents=[(name, heading) for name, heading, _ in sections],
        pages=[
            *((f"specialists/{name}.html", f"Specialist {name}") for name in results.groups),
            *((f"specialists/{name}", paging.span(names)) for name, names in further.items()),
            *([("segmentation/index.html", "Segmentation")] if segmentation else []),
        ],
        segmentation=segmentation,
        shown=first if further else (),
        variants=results.variants,
        further=[(f"specialists/{name}", paging.span(names)) for name, names in further.items()],
        facts=setup.facts(results, revision),
        revision=revision,
        sections=sections,
    )


def render_further(results: Results, revision: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each further page, for the folder beside index.html: one at a time, for there are many."""
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
                **paging.framed(pages, file, ("../index.html", f"Ablation of {results.main}")),
                comparisons=[(name, results.reason(name), said) for name, said in comparison_sentences(of_page)],
                facts=setup.facts(of_page, revision),
                revision=revision,
                sections=sections,
            ),
        )


def render_specialists(results: Results, revision: str) -> dict[str, str]:
    """Return the page of each specialist that has datasets, by its name, for the folder beside index.html."""
    by_specialist = results.groups
    index = ("../index.html", f"Ablation of {results.main}")
    return {
        specialist: _render(
            "specialist.html",
            results,
            contents=[(name, results.title(name)) for name in names],
            pages=[
                index,
                *((f"{other}.html", f"Specialist {other}") for other in by_specialist if other != specialist),
            ],
            specialist=specialist,
            about=specialists.about(results, specialist),
            sentence=specialists.specialist_sentence(results, names),
            cards=[build_card(results, name) for name in names],
            revision=revision,
        )
        for specialist, names in by_specialist.items()
    }


def _render(template: str, results: Results, **content: object) -> str:
    return render(template, describe_origin(results), main=results.main, seed=results.seeds[0], **content)
