"""What a reader must know before quoting a number, in few words."""

from dataclasses import dataclass

from mosaic_pipeline.reporting.origin import describe_origin
from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.wording import plural


@dataclass(frozen=True)
class Caveat:
    """A label of a few words, what follows from it, and the section of the page that explains it."""

    label: str
    follows: str
    section: str = "limits"


def caveats(results: Results) -> list[Caveat]:
    """Say what the numbers stand on, where it is less than sound official data, several seeds and a pretrained ViT."""
    origin = describe_origin(results)
    found = [Caveat(origin.label, origin.brief)] if origin.warning else []
    if len(results.seeds) == 1:
        found.append(Caveat("One training each", "no difference is called"))
    if results.main_run.training.weights.random:
        found.append(Caveat("Random backbone", "a pretrained one may differ"))
    if odd := [name for name in results.datasets if results.origin(name).findings]:
        found.append(Caveat("Odd data", f"in {plural(len(odd), 'dataset')}", "datasets"))
    return found
