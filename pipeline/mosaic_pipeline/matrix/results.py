"""What was made already: the entries of a dvc.lock, put together from those of DVC's run cache.

An entry of the run cache says what one run of a stage read and wrote; it is found by a digest of the stage's command,
parameters and the md5s of what it reads. So what a whole ablation came to can be followed from stage to stage by md5s
alone, without a workspace and without asking DVC, which would rather train than tell whether it would.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mosaic_pipeline.matrix.definitions import Definition
from mosaic_pipeline.provenance.cache import cached_file
from mosaic_pipeline.provenance.lock import FOLDER, load_fast

Entry = Mapping[str, Any]  # a stage's part of dvc.lock


class Results:
    """Entries of stages by name, and what they wrote by path."""

    def __init__(self, cache: Path, entries: Mapping[str, Entry], folders: Mapping[str, Mapping[str, Any]]) -> None:
        """Begin with what was made before.

        `folders` are the md5s (with size and nfiles) of folders that stages read as a whole and several wrote.
        """
        self._cache = cache
        self.entries: dict[str, Entry] = dict(entries)
        self._written: dict[str, Mapping[str, Any]] = dict(folders)
        for entry in entries.values():
            self._note(entry)

    def find(self, definition: Definition) -> Entry | None:
        """Return the entry of a stage if it ever ran on these inputs and all that it wrote is still in the cache."""
        if definition.name in self.entries:
            return self.entries[definition.name]
        entry = self._recorded(definition)
        if not entry or not self._all_cached(entry):
            return None
        self.entries[definition.name] = entry
        self._note(entry)
        return entry

    def lacking(self, definitions: Iterable[Definition]) -> list[str]:
        """Return the names of those stages, given in the order in which they run, that are still to run."""
        return [each.name for each in definitions if self.find(each) is None]

    def uncached(self, definitions: Iterable[Definition]) -> list[str]:
        """Return the md5s that records of these stages, given in the order in which they run, name and the cache lacks.

        Of a folder whose list is not there it is that of the list, by which the others will be known.
        """
        records = []
        for each in definitions:
            entry = self.entries.get(each.name) or self._recorded(each)
            if entry:
                self._note(entry)  # so that what reads it is found, though it is still to come
                records.append(entry)
        return [md5 for md5 in self._named(records) if not cached_file(self._cache, md5).is_file()]

    def files(self, definitions: Iterable[Definition]) -> list[str]:
        """Return the md5s of all that stages wrote whose entries are here, the lists of folders among them."""
        return self._named(self.entries[each.name] for each in definitions)

    def _named(self, entries: Iterable[Entry]) -> list[str]:
        md5s = (
            md5 for entry in entries for out in entry["outs"] for md5 in self._with_members(str(out.get("md5", "")))
        )
        return list(dict.fromkeys(md5s))

    def _with_members(self, md5: str) -> list[str]:
        """Return the md5 of a file; that of a folder's list, and those of its files if the list is here."""
        file = cached_file(self._cache, md5)
        if not md5.endswith(FOLDER) or not file.is_file():
            return [md5]
        return [*(each["md5"] for each in json.loads(file.read_bytes())), md5]

    def is_cached(self, definition: Definition) -> bool:
        """Whether all that a stage wrote, whose entry is here, is in the cache."""
        return self._all_cached(self.entries[definition.name])

    def _all_cached(self, entry: Entry) -> bool:
        return all(cached_file(self._cache, md5).is_file() for md5 in self._named([entry]))

    def _note(self, entry: Entry) -> None:
        for out in entry.get("outs", ()):
            self._written[out["path"]] = {key: value for key, value in out.items() if key not in ("path", "hash")}

    def _key(self, definition: Definition) -> str | None:
        """Return what DVC files the stage under; None while something that it reads is not there."""
        if not all(path in self._written for path in definition.deps):
            return None
        deps = [{"hash": "md5", "md5": self._written[path]["md5"], "path": path} for path in sorted(definition.deps)]
        content: dict[str, Any] = {"cmd": definition.cmd, "deps": deps, "outs": sorted(definition.outs)}
        if definition.params:
            content["params"] = {"params.yaml": dict(definition.params)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _recorded(self, definition: Definition) -> Entry | None:
        """Return the record of a stage, whether or not its files are here."""
        key = self._key(definition)
        return self._newest(self._cache / "runs" / key[:2] / key) if key else None

    def _newest(self, folder: Path) -> Entry | None:
        """Return the latest record of a stage, which is what DVC would restore."""
        files = sorted(folder.glob("*"), key=lambda file: file.stat().st_mtime, reverse=True)
        try:
            entry = load_fast(files[0].read_bytes()) if files else None
        except (OSError, ValueError, yaml.YAMLError):  # half written, by a copy that was interrupted
            return None
        return entry if isinstance(entry, dict) and isinstance(entry.get("outs"), list) else None
