"""Weights of Hugging Face's hub: a tag that timm knows, or any repository; fetched once, below .cache/weights.

The client reads HF_ENDPOINT (a mirror), HF_TOKEN (for what is not open to all) and HF_HUB_OFFLINE.
"""

import json
import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_pipeline.data.augment import Statistics
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.model.vit import VisionTransformer, get_pretrained_cfg, list_models
from mosaic_pipeline.weights.claims import check

# By name, safe ones first, as timm and transformers look for them.
_WEIGHTS = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
    "model.pth",
)
# Files that may say mean and std, and where in them.
_STATISTICS = {
    "config.json": (("pretrained_cfg", "mean"), ("pretrained_cfg", "std")),
    "preprocessor_config.json": (("image_mean",), ("image_std",)),
    "open_clip_config.json": (("preprocess_cfg", "mean"), ("preprocess_cfg", "std")),
}
# How a revision may be written: a branch, a tag or a commit.
_REVISION = re.compile(r"[\w.\-]+(/[\w.\-]+)*")


@dataclass(frozen=True)
class Fetched:
    """A file of a repository: where it lies, its name with that of the repository, and what that says of it.

    `found_in` is where mean and std stand, or why they are not known. `told` says whether the repository told of heads
    and activation, so that they were held against the model.
    """

    path: Path
    name: str
    revision: str
    statistics: Statistics | None
    found_in: str | None
    told: bool


def fetch(spec: str, model: VisionTransformer, architecture: str, arguments: Mapping[str, Any], cache: Path) -> Fetched:
    """Return the weights of `<timm tag>`, or of `<org>/<repo>[@revision]`, for a model of timm's.

    `architecture` is that model's name and `arguments` those that it was built with beside it.

    Raises PipelineError if there is no such thing, if the hub cannot be reached and nothing is cached, or if it says
    that the weights are those of another model.
    """
    if "/" in spec:
        return _from_repository(spec, model, architecture, arguments, cache)
    config = _registered(spec, architecture)
    repository = _Repository(f"model.weights: hub:{spec}", config.hf_hub_id, cache)
    first = (config.hf_hub_filename,) if config.hf_hub_filename else ()
    path = repository.first_of((*first, *_WEIGHTS))
    statistics = (tuple(config.mean), tuple(config.std))
    return Fetched(path, f"{repository.name}/{path.name}", path.parent.name, statistics, "timm", told=True)


def _registered(tag: str, architecture: str) -> Any:
    """Return what timm knows about a tag of its own."""
    try:
        config = get_pretrained_cfg(tag)
    except RuntimeError:
        config = None
    if config is None or not config.hf_hub_id:
        known = [name for name in list_models(architecture, pretrained=True) if name.startswith(f"{architecture}.")]
        hint = f"those of {architecture} are {', '.join(known)}" if known else f"it knows none of {architecture}"
        raise PipelineError(f"model.weights: hub:{tag}: timm knows no such weights; {hint}; or hub:<org>/<repository>")
    if config.architecture != architecture:
        raise PipelineError(
            f"model.weights: hub:{tag}: weights of {config.architecture}, but model.backbone is {architecture}; they "
            "must agree"
        )
    return config


def _from_repository(
    spec: str, model: VisionTransformer, architecture: str, arguments: Mapping[str, Any], cache: Path
) -> Fetched:
    name = f"model.weights: hub:{spec}"
    repository = _Repository(name, spec, cache)
    said = repository.read("config.json")
    told = check(name, said, model, architecture, arguments)
    path = repository.first_of(_WEIGHTS)
    statistics: Statistics | None = None
    found_in = None
    for file, keys in _STATISTICS.items():
        tree = said if file == "config.json" else repository.read(file)
        if _under(tree, ("do_normalize",)) is False:
            mean, std = _triple([0.0, 0.0, 0.0]), _triple([1.0, 1.0, 1.0])
        else:
            mean, std = (_triple(_under(tree, key)) for key in keys)
        if mean is None or std is None:
            continue
        if problem := _scaled(tree):
            found_in = f"the hub's {file} {problem}"
            continue
        statistics, found_in = (mean, std), f"the hub's {file}"
        break
    return Fetched(path, f"{repository.name}/{path.name}", path.parent.name, statistics, found_in, told)


def _scaled(tree: Any) -> str | None:
    """Say how pixels are scaled before mean and std are meant, if not to [0, 1]."""
    factor = _under(tree, ("rescale_factor",))
    if _under(tree, ("do_rescale",)) is False:
        return "leaves pixels as they are, not in [0, 1], before mean and std"
    if isinstance(factor, int | float) and not math.isclose(factor, 1 / 255, rel_tol=1e-3):
        return f"multiplies pixels by {factor:g}, not by 1/255, before mean and std"
    return None


def _under(tree: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _triple(values: Any) -> tuple[float, float, float] | None:
    """Return three numbers as they are; None for anything else."""
    if not isinstance(values, list) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
        return None
    first, second, third = map(float, values)
    return first, second, third


class _Repository:
    """One revision of a repository on the hub, its files fetched as they are asked for."""

    def __init__(self, name: str, spec: str, cache: Path) -> None:
        """Take what errors call it, `<org>/<repo>[@revision]`, and the folder of the client's cache."""
        self._said = name
        self.name, _, revision = spec.partition("@")
        self._revision = revision or None
        if revision and (not _REVISION.fullmatch(revision) or ".." in revision):
            raise PipelineError(f"{name}: {revision} is no revision; it must be a branch, a tag or a commit")
        self._cache = cache
        self._asked = False
        self._out_of_reach: str | None = None  # why only what is cached can be had, once that is known

    def first_of(self, files: tuple[str, ...]) -> Path:
        """Return the first of these files that there is. Raises PipelineError if there is none."""
        for file in files:
            if path := self._file(file):
                return path
        if self._out_of_reach:
            raise PipelineError(
                f"{self._said}: the hub cannot be reached ({self._out_of_reach}); fetch the file where it can be and "
                "give its path, or name a mirror in HF_ENDPOINT"
            )
        raise PipelineError(f"{self._said}: {self.name} has none of {', '.join(files)}; give the URL of its weights")

    def read(self, file: str) -> Any:
        """Return what a JSON file holds; None if there is none, or no JSON in it."""
        path = self._file(file)
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path else None
        except ValueError:
            return None

    def _file(self, file: str) -> Path | None:
        """Return a file of the revision that the first one was of; None if there is none, or none within reach."""
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        try:
            from huggingface_hub import errors, hf_hub_download
            from huggingface_hub.utils import disable_progress_bars
        except ImportError:
            raise PipelineError(f"{self._said}: `pip install huggingface_hub`, which fetches from there") from None
        if not sys.stderr.isatty():
            disable_progress_bars()
        endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
        try:
            if not self._asked:
                self._asked = True
                self._out_of_reach = _out_of_reach(self.name, file, self._revision, endpoint)
            found = hf_hub_download(
                self.name,
                file,
                revision=self._revision,
                cache_dir=self._cache,
                endpoint=endpoint,
                local_files_only=self._out_of_reach is not None,
            )
        except errors.LocalEntryNotFoundError as error:
            self._out_of_reach = self._out_of_reach or _reason(error)
            return None
        except errors.EntryNotFoundError:
            return None
        except errors.GatedRepoError:
            raise PipelineError(
                f"{self._said}: {self.name} is not open to all; accept its terms on its page and set HF_TOKEN"
            ) from None
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
            what = "revision" if isinstance(error, errors.RevisionNotFoundError) else "repository"
            raise PipelineError(
                f"{self._said}: the hub knows no such {what}; check model.weights, or set HF_TOKEN if it is not public"
            ) from None
        except Exception as error:  # of the client and of three libraries below it
            raise PipelineError(f"{self._said}: {_reason(error)}; check model.weights and the network") from None
        path = Path(found)
        self._revision = path.parent.name
        return path


def _out_of_reach(name: str, file: str, revision: str | None, endpoint: str | None) -> str | None:
    """Ask once whether anybody is there, and return why not; a download would ask for half a minute."""
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(name, file, revision=revision, endpoint=endpoint), endpoint=endpoint)
    except (errors.HfHubHTTPError, errors.HFValidationError):
        return None  # an answer; what it means is for the download to say
    except Exception as error:  # of the libraries below the client
        return _reason(error)
    return None


def _reason(error: BaseException) -> str:
    """Return what lies at the bottom of an error, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:200] or type(error).__name__
