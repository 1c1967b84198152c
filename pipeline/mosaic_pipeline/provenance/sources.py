"""Where data and weights came from in the first place: addresses, and the md5s that their publishers name."""

from collections.abc import Mapping
from typing import Any

from mosaic_pipeline.provenance.lock import Item
from mosaic_pipeline.provenance.node import Node, State
from mosaic_pipeline.redact import redacted


def source_of_raw(item: Item, params: Mapping[str, Any], verified: bool) -> Node:
    """Return where a dataset's file is from, by the parameters of the run that fetched it.

    It is verified if the file is, and has the md5 that MedMNIST publishes.
    """
    from mosaic_pipeline.data.official import published
    from mosaic_pipeline.datasets import MEDMNIST

    name = item.path.rpartition("/")[2].removesuffix(".npz")
    dataset, source = MEDMNIST.get(name), str(params.get("data.source", "unknown"))
    if dataset is None:
        return Node("source", "files of one's own", State.RECORDED, why="as declared for the dataset")
    if source == "phantom":
        sizes = params.get("phantom") or {}
        return Node("source", "generated (phantom)", State.RECORDED, facts={"official": False, **sizes})
    official = published(dataset, int(params.get(f"data.size_{dataset.dimension}d") or 28))
    same = item.md5 == official.md5
    facts = {"source": source, "official": same, "url": official.url, "official md5": official.md5}
    why = "" if same else "the file is another than the one that MedMNIST publishes"
    return Node("source", official.url, State.VERIFIED if same and verified else State.RECORDED, facts=facts, why=why)


def source_of_weights(params: Mapping[str, Any]) -> Node:
    """Return where weights are from, by the parameters of the run that converted them: no path, only a file's name."""
    named = params.get("model.weights") or (params.get("segmentation.model") or {}).get("weights")
    if not named:
        return Node("source", "random weights", State.RECORDED, why="drawn by the pipeline")
    name = redacted(str(named)) if "://" in str(named) else str(named).rstrip("/").rpartition("/")[2]
    sha256 = params.get("model.weights_sha256")
    return Node("source", name, State.RECORDED, facts={"sha256": sha256} if sha256 else {})


def source_of_scans(params: Mapping[str, Any]) -> Node:
    """Return where scans are from: generated, or a folder, which is not named, for it is of one machine."""
    source = str(params.get("segmentation.data.source", "unknown"))
    name = "generated (phantom)" if source == "phantom" else "scans in a folder of one's own"
    return Node("source", name, State.RECORDED)
