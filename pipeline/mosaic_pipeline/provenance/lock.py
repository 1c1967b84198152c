"""dvc.lock as DVC writes it: what each stage read and wrote, by md5."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from mosaic_pipeline.errors import PipelineError

LOCK = "dvc.lock"
FOLDER = ".dir"  # what ends the md5 of a folder
T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """A file or folder that a stage read or wrote: path from the root, md5 (ends in `.dir` for a folder), bytes."""

    path: str
    md5: str
    size: int | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.md5.endswith(FOLDER)


@dataclass(frozen=True)
class Stage:
    """What one run of a stage read and wrote."""

    name: str
    deps: tuple[Item, ...]
    outs: tuple[Item, ...]
    params: Mapping[str, Any] = field(default_factory=dict)

    def out(self, path: str) -> Item | None:
        """Return what the stage wrote under this path."""
        return next((out for out in self.outs if out.path == path), None)


@dataclass(frozen=True)
class Lock:
    """All stages of a dvc.lock, by name."""

    stages: Mapping[str, Stage]

    @cached_property
    def _makers(self) -> dict[str, Stage]:
        return {out.path: stage for stage in self.stages.values() for out in stage.outs}

    def maker(self, path: str) -> Stage | None:
        """Return the stage that wrote this path, or the folder that holds it."""
        parts = path.split("/")
        folders = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
        return next((self._makers[folder] for folder in folders if folder in self._makers), None)

    def holder(self, path: str) -> Item | None:
        """Return what a stage wrote under this path, or the folder that holds it."""
        stage = self.maker(path)
        outs = stage.outs if stage else ()
        return next((out for out in outs if path == out.path or path.startswith(f"{out.path}/")), None)

    def below(self, folder: str) -> list[Item]:
        """Return what stages wrote below a folder, sorted by path."""
        prefix = "" if folder in (".", "") else f"{folder.rstrip('/')}/"
        return sorted((out for out in self.outs() if out.path.startswith(prefix)), key=lambda out: out.path)

    def outs(self) -> Iterator[Item]:
        """Yield all that stages wrote."""
        for stage in self.stages.values():
            yield from stage.outs


def parse_lock(data: bytes, name: str = LOCK) -> Lock:
    """Return a dvc.lock. Raises PipelineError, naming it, if it is none."""
    return parse_entries(
        data, lambda entries: Lock({key: parse_stage(key, each) for key, each in entries.items()}), name
    )


def parse_entries(data: bytes, made: Callable[[dict[str, Any]], T], name: str = LOCK) -> T:
    """Return what is `made` of the entries of a dvc.lock by stage, as they stand there. Raises as `parse_lock`."""
    import yaml

    try:
        return made((load_fast(data) or {}).get("stages") or {})
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())[:200]
        raise PipelineError(f"{name}: not as DVC writes it ({said}); `dvc repro` writes it anew") from None


def load_fast(data: bytes) -> Any:
    """Return what YAML says; ten times as fast as by `yaml.safe_load`, where libyaml is."""
    import yaml

    return yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def parse_stage(name: str, entry: Mapping[str, Any]) -> Stage:
    """Return what an entry of a dvc.lock, or of DVC's run cache, says."""
    params: dict[str, Any] = {}
    for values in (entry.get("params") or {}).values():
        params |= values or {}
    return Stage(name, _items(entry.get("deps")), _items(entry.get("outs")), params)


def _items(entries: list[Mapping[str, Any]] | None) -> tuple[Item, ...]:
    # Without an md5 it is what DVC left out: a stage that failed, or something outside.
    return tuple(Item(str(each["path"]), str(each["md5"]), each.get("size")) for each in entries or () if "md5" in each)
