"""What became of a file of weights: the provenance that goes with the backbone, and the stage's line."""

from typing import TYPE_CHECKING, Any

from pipeline.data.augment import HALF, STATISTICS, Statistics
from pipeline.model.vit import VisionTransformer
from pipeline.weights.google_npz import Contents
from pipeline.weights.source import Source

if TYPE_CHECKING:
    from pipeline.params import Model

# So many tensors that are left out are named one by one.
NAMED = 6


def statistics_by(source: Source, contents: Contents) -> tuple[Statistics, str] | None:
    """Return mean and std that weights were trained by, and who says so; None if nobody does, as of random ones."""
    if source.statistics:
        return source.statistics, source.found_in
    if contents.family == "Google" and source.name != "random":
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


def mismatch(normalisation: str, source: Source, contents: Contents) -> str | None:
    """Say if images are normalised otherwise than those that the weights were trained on; None if not, or unknown."""
    found = statistics_by(source, contents)
    if found is None or normalisation == "auto" or STATISTICS[normalisation] == found[0]:
        return None
    return (
        f"model.normalisation is {normalisation}, but {source.name} was trained by mean and std {_named(found[0])} "
        f"according to {found[1]}, which auto takes"
    )


def account(model: VisionTransformer, source: Source, contents: Contents) -> str:
    """Say in one line what a model was filled from, what of it was used, and what was left out."""
    tokens = model.pos_embed.shape[1]
    notes = [f"{len(contents.used)} arrays used", f"left out: {_listed(contents.left_out)}"]
    if contents.prefix:
        notes.append(f"found below {contents.prefix.rstrip('.')}")
    if contents.family not in ("Google", "timm"):
        notes.append(f"by the names of {contents.family}")
    if contents.tokens != tokens:
        notes.append(f"positions resized from {contents.tokens} to {tokens}")
    if found := statistics_by(source, contents):
        notes.append(f"trained by mean and std {_named(found[0])} according to {found[1]}")
    revision = f", revision {source.revision}" if source.revision else ""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"{parameters:,} parameters from {source.name} (sha256 {source.sha256}{revision}), {', '.join(notes)}"


def _listed(names: tuple[str, ...]) -> str:
    """Name tensors, or if they are many how many there are below each first part of a name."""
    if len(names) <= NAMED:
        return ", ".join(names) or "none"
    counts: dict[str, int] = {}
    for name in names:
        first = name.partition(".")[0]
        counts[first] = counts.get(first, 0) + 1
    return ", ".join(f"{first} ({count} tensor{'s' * (count > 1)})" for first, count in counts.items())


def _named(statistics: Statistics) -> str:
    numbers = " / ".join(", ".join(f"{value:g}" for value in values) for values in statistics)
    return next((name for name, values in STATISTICS.items() if values == statistics), numbers)
