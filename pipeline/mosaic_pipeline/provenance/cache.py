"""DVC's cache: bytes by md5, and the run cache, which says what each run of a stage ever made."""

import configparser
from collections.abc import Iterator
from pathlib import Path

from mosaic_pipeline.provenance.lock import Stage, parse_stage


def cache_folder(root: Path) -> Path:
    """Return the folder of DVC's cache: `cache.dir` of the checkout's configuration, the user's or the system's.

    Without any it is `.dvc/cache`.
    """
    home = root / ".dvc"
    for file in (home / "config.local", home / "config", *_outside()):
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        try:
            parser.read_string(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, configparser.Error):
            continue
        if named := parser.get("cache", "dir", fallback="").strip().strip("\"'"):
            return (file.parent / named).resolve()
    return home / "cache"


def _outside() -> list[Path]:
    """Return the files in which DVC is configured for a user and for a machine; none where there is no DVC."""
    try:
        from dvc.dirs import global_config_dir, system_config_dir
    except ModuleNotFoundError:
        return []
    return [Path(folder) / "config" for folder in (global_config_dir(), system_config_dir())]


def cached_file(cache: Path, md5: str) -> Path:
    """Where the cache keeps bytes with this md5."""
    return cache / "files/md5" / md5[:2] / md5[2:]


def read_run_cache(cache: Path) -> list[tuple[str, bytes]]:
    """Return the records of all runs of stages: a name and the bytes of each."""
    paths = sorted(path for path in (cache / "runs").glob("*/*/*") if path.is_file())
    return [(f"{path.parent.name[:10]} of DVC's run cache", path.read_bytes()) for path in paths]


def runs_with(records: list[tuple[str, bytes]], part: str) -> Iterator[Stage]:
    """Yield the runs of stages in whose record a text, such as an md5, stands."""
    import yaml

    for name, data in records:
        if part.encode() not in data:
            continue
        try:
            yield parse_stage(name, yaml.safe_load(data))
        except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError):
            continue  # half written, by a run that was killed, or another version's
