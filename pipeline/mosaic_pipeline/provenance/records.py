"""Where an md5 is recorded: in this dvc.lock, in DVC's run cache, or in the dvc.lock of another commit."""

from dataclasses import dataclass

from mosaic_pipeline.provenance import git
from mosaic_pipeline.provenance.lock import LOCK, Item, parse_lock
from mosaic_pipeline.provenance.snapshot import Snapshot

COMMITS = 20  # of the past that are read, the newest first


@dataclass(frozen=True)
class Recorded:
    """A file or folder, and the snapshot in which it is recorded."""

    snapshot: Snapshot
    item: Item


def recorded(snapshot: Snapshot, prefix: str) -> list[Recorded]:
    """Return what has an md5 that begins like this: as dvc.lock says, else the run cache, else dvc.lock in the past."""
    if found := [out for out in snapshot.lock.outs() if out.md5.startswith(prefix)]:
        return [Recorded(snapshot, item) for item in found]
    runs = {out for run in snapshot.runs_with(prefix) for out in run.outs if out.md5.startswith(prefix)}
    if runs:
        return [Recorded(snapshot, item) for item in sorted(runs, key=lambda item: (item.path, item.md5))]
    past: dict[Item, Recorded] = {}
    for commit in git.commits_with(snapshot.root, LOCK, prefix)[:COMMITS]:
        if data := git.file_at(snapshot.root, commit, LOCK):
            then = Snapshot(snapshot.root, commit, snapshot.hasher)
            outs = (out for out in parse_lock(data).outs() if out.md5.startswith(prefix))
            past |= {out: Recorded(then, out) for out in outs if out not in past}
    return list(past.values())
