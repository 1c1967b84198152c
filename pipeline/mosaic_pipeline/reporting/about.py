"""What a reader who knows nothing of the method needs first."""

from mosaic_pipeline.reporting.results import Results
from mosaic_pipeline.reporting.sections.setup import weights
from mosaic_pipeline.reporting.sections.specialists import MOSAIC, about
from mosaic_pipeline.reporting.wording import count, listing, plural

METHOD = (
    "MOSAIC trains one model on many datasets: small adapters, its specialists, sit in the blocks of a vision "
    "transformer, and each dataset has a classification head of its own. Every dataset belongs to a group and trains "
    "only that group's specialist (hard routing): A for colour and texture, B for grayscale and shape, C for volumes."
)


def describe_method(results: Results) -> str:
    """Say what the method is, and what the specialists are for that are here beside its own."""
    more = [f"{letter} for {about(results, letter)}" for letter in results.groups if letter not in MOSAIC]
    return METHOD + (f" Beside them here: {listing(more)}." if more else "")


def describe_run(results: Results) -> str:
    """Say in a sentence what was trained on what: backbone, data, images, rounds and seeds."""
    config = results.configs[results.main]
    splits = [results.origin(name).splits for name in results.datasets]
    images = []
    for split, title in (("train", "training"), ("val", "validation"), ("test", "test")):
        least, most = (pick(sizes[split].n for sizes in splits) for pick in (min, max))
        images.append(f"{count(least)} {title}" if least == most else f"{count(least)} to {count(most)} {title}")
    frozen = "frozen" if config.model.frozen else "trained with the rest"
    seeds = f"seed {results.seeds[0]}" if len(results.seeds) == 1 else f"seeds {listing(list(map(str, results.seeds)))}"
    return (
        f"Here it is {config.model.backbone} with {weights(results)}, {frozen}; "
        f"{plural(len(results.variants), 'variant')} of it "
        f"trained on {plural(len(results.datasets), 'dataset')} ({listing(images)} images each) for at most "
        f"{plural(config.train.num_rounds, 'round')}, {seeds}."
    )
