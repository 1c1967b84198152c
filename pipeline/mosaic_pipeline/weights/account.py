"""What became of a file of weights: the provenance that goes with the backbone, and the stage's line."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mosaic_pipeline.data.augment import HALF, STATISTICS, Statistics
from mosaic_pipeline.model.vit import VisionTransformer, get_pretrained_cfg, list_models
from mosaic_pipeline.present import present
from mosaic_pipeline.weights.google_npz import Contents
from mosaic_pipeline.weights.source import RANDOM, Source

if TYPE_CHECKING:
    from mosaic_pipeline.params import Model

# So many tensors that are left out are named one by one.
NAMED = 6


def statistics_by(source: Source, contents: Contents) -> tuple[Statistics, str] | None:
    """Return mean and std that weights were trained by, and who says so; None if nobody does, as of random ones."""
    if source.statistics:
        return source.statistics, present(source.found_in)
    if contents.family == "Google" and source.name != RANDOM:
        return HALF, "Google's recipe"
    return None


def provenance_of(model: "Model", source: Source, contents: Contents) -> dict[str, Any]:
    """Return where a backbone's values come from, and what it takes to use them as they are meant."""
    provenance: dict[str, Any] = {"backbone": model.backbone}
    if arguments := model.backbone_args.given():
        provenance["backbone_args"] = arguments
    provenance |= {"patch_size": model.patch_size, "image_size": model.image_size}
    provenance |= {"source": source.name, "sha256": source.sha256}
    if source.revision:
        provenance["revision"] = source.revision
    if found := statistics_by(source, contents):
        provenance["mean"], provenance["std"] = found[0]
    return provenance


def warnings(normalisations: Mapping[str, str], architecture: str, source: Source, contents: Contents) -> Iterator[str]:
    """Say where variants, each by its model.normalisation, see images otherwise than the weights were trained on them.

    Or where nobody says how that was.
    """
    found = statistics_by(source, contents)
    if source.name == RANDOM:
        return
    for normalisation in dict.fromkeys(normalisations.values()):
        variants = [variant for variant, value in normalisations.items() if value == normalisation]
        where = "" if len(variants) == len(normalisations) else f" in {', '.join(variants)}"
        if found is None:
            yield (
                f"{source.name} does not say by which mean and std it was trained; images are normalised by "
                f"{normalisation}{where}, as model.normalisation says{hint(architecture, source)}"
            )
        elif normalisation != "auto" and STATISTICS[normalisation] != found[0]:
            yield (
                f"model.normalisation is {normalisation}{where}, but {source.name} was trained by mean and std "
                f"{_named(found[0])} according to {found[1]}, which auto takes"
            )


def hint(architecture: str, source: Source) -> str:
    """Return, in brackets, why mean and std are not known, and what those of timm's own weights of that name are."""
    tags = [tag for tag in list_models(architecture, pretrained=True) if tag.startswith(f"{architecture}.")]
    configs = [config for tag in tags if (config := get_pretrained_cfg(tag))]
    known = {(tuple(config.mean), tuple(config.std)) for config in configs}
    notes = [source.found_in] if source.found_in else []
    if len(known) == 1:
        notes.append(f"timm's own weights of {architecture} were trained by {_named(known.pop())}")
    return f" ({'; '.join(notes)})" if notes else ""


def account(model: VisionTransformer, architecture: str, source: Source, contents: Contents) -> str:
    """Say in one line what a model was filled from, what of it was used, and what was left out."""
    tokens = model.pos_embed.shape[1]
    notes = [f"{len(contents.used)} arrays used", f"left out: {listed(contents.left_out)}"]
    if contents.prefix:
        notes.append(f"found below {contents.prefix.rstrip('.')}")
    if contents.family not in ("Google", "timm"):
        notes.append(f"by the names of {contents.family}")
    if contents.tokens != tokens:
        notes.append(f"positions resized from {contents.tokens} to {tokens}")
    notes += contents.notes
    if contents.family != "Google" and not source.told and source.name != RANDOM:
        notes.append(f"heads and activation taken for those of {architecture}, because nothing says them")
    if found := statistics_by(source, contents):
        notes.append(f"trained by mean and std {_named(found[0])} according to {found[1]}")
    revision = f", revision {source.revision}" if source.revision else ""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"{parameters:,} parameters from {source.name} (sha256 {source.sha256}{revision}), {', '.join(notes)}"


def listed(names: tuple[str, ...]) -> str:
    """Name tensors, or if they are many how many there are below each first part of a name."""
    if len(names) <= NAMED:
        return ", ".join(names) or "none"
    counts: dict[str, int] = {}
    for name in names:
        first = name.partition(".")[0]
        counts[first] = counts.get(first, 0) + 1
    return ", ".join(f"{first} ({count} tensor{'s' * (count > 1)})" for first, count in counts.items())


def _named(statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> str:
    numbers = " / ".join(", ".join(f"{value:g}" for value in values) for values in statistics)
    return next((name for name, values in STATISTICS.items() if values == statistics), numbers)
