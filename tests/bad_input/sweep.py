"""Every file of a finished project, damaged in every way, met by the command that reads it: what comes of each.

    python tests/bad_input/sweep.py [part of a path or of a damage ...]

Minutes on one core. Prints the counts, and every one of the last three:

- refused: exit status 2 and one line that names the file, and nothing else changed
- harmless: what is written is the same as without the damage
- SILENT: the command succeeds, and what it writes is not the same
- UNNAMED: refused, but the line does not name the file, or something else changed
- TRACEBACK: whatever nobody foresaw, in one line or in many
"""

import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "pipeline")]

from case import changes, contents, copy, error_lines
from damage import (
    Change,
    edited_json,
    empty,
    flipped,
    folder,
    forbidden,
    garbage,
    is_root,
    loop,
    missing,
    rewritten,
    truncated,
)
from finished import CORRUPTION, DATASETS, EXTERNAL, VARIANTS, finish, run_stage

BAD_NUMBERS = (float("nan"), float("inf"), -7, 1e300, "word", True, None)


def readers() -> Iterator[tuple[str, str]]:
    """Yield every file that a stage wrote, with each command that reads it."""
    for name in DATASETS:
        yield f"declared/{name}/source.yaml", f"download {name}"
        yield f"declared/{name}/about.yaml", f"cache {name}"
        yield f"data/raw/{name}.npz", f"cache {name}"
    name, variant = DATASETS[0], VARIANTS[0]
    for split, kind in ((split, kind) for split in ("train", "val") for kind in ("images", "labels")):
        yield f"data/cached/training/{name}/{split}_{kind}.npy", f"train {variant} 42"
    yield f"data/cached/training/{name}/val_labels.npy", f"analyse {variant} 42"
    yield f"data/cached/training/{name}/meta.json", f"train {variant} 42"
    for part in ("test_images.npy", "test_labels.npy", "meta.json"):
        yield f"data/cached/test/{name}/{part}", f"evaluate {variant} 42 A"
    yield f"data/external/raw/{EXTERNAL}.npz", f"cache_external {EXTERNAL}"
    for part in (
        "training/{}/train_images.npy",
        "training/{}/val_labels.npy",
        "training/{}/meta.json",
        "test/{}/meta.json",
    ):
        yield f"data/external/cached/{part.format(EXTERNAL)}", f"transfer {variant} 42 {EXTERNAL}"
    yield "weights/backbone.safetensors", f"train {variant} 42"
    yield "weights/backbone.safetensors", f"evaluate {variant} 42 A"
    yield "params.yaml", f"configure {variant}"
    for variant in VARIANTS:
        yield f"candidates/{variant}.yaml", f"tune {variant}"
        yield f"configs/{variant}.yaml", f"train {variant} 42"
        yield f"configs/{variant}.yaml", "report"
        yield f"tuning/{variant}.json", "report"
        for part in ("train.json", "model.safetensors"):
            yield f"runs/{variant}/42/{part}", f"evaluate {variant} 42 A"
        for part in ("train.json", "history.csv", "conflicts.json"):
            yield f"runs/{variant}/42/{part}", "report"
        for specialist, suffix in ((s, e) for s in "ABC" for e in ("json", "npz", "roc.csv")):
            yield f"evaluation/{variant}/42/{specialist}.{suffix}", "report"
        for suffix in ("json", "npz"):
            yield f"evaluation/{variant}/42/corrupted/{CORRUPTION}.{suffix}", "report"
            yield f"evaluation/{variant}/42/transfer/{EXTERNAL}.{suffix}", "report"
        yield f"analysis/{variant}/42.json", "report"


def damages(project: Path, path: str) -> Iterator[tuple[str, Change]]:
    """Yield what can become of a file, by name."""
    yield from (("missing", missing(path)), ("folder", folder(path)), ("empty", empty(path)), ("loop", loop(path)))
    if not is_root():  # whom it hinders from nothing
        yield "mode 000", forbidden(path)
    yield "random bytes", garbage(path)
    for share in (0.01, 0.3, 0.6, 0.9, 0.999):
        yield f"first {share:.1%}", truncated(path, share)
    for bits in (1, 10, 100):
        for seed in range(3):
            yield f"{bits} bits flipped ({seed})", flipped(path, bits, seed)
    yield "a byte more", rewritten(path, lambda content: content + b"\0")
    yield "byte-order mark", rewritten(path, "\ufeff".encode().__add__)
    if path.endswith((".json", ".csv", ".yaml")):
        yield "CRLF", rewritten(path, lambda content: content.replace(b"\n", b"\r\n") + b"\r\n")
    if path.endswith(".json"):
        yield from _json_damages(project / path, path)


def _json_damages(file: Path, path: str) -> Iterator[tuple[str, Change]]:
    """Every key gone, and every value another one; of lists the first item stands for all."""

    def keys(tree: object, at: tuple = ()) -> Iterator[tuple]:
        if at:
            yield at
        items = tree.items() if isinstance(tree, dict) else list(enumerate(tree))[:1] if isinstance(tree, list) else ()
        for key, value in items:
            yield from keys(value, (*at, key))

    def edit(tree: dict, at: tuple, change: Callable[[dict, object], None]) -> None:
        for key in at[:-1]:
            tree = tree[key]
        change(tree, at[-1])

    for at in keys(json.loads(file.read_text(encoding="utf-8"))):
        name = ".".join(map(str, at))
        yield f"without {name}", edited_json(path, partial(edit, at=at, change=lambda part, key: part.pop(key)))
        for value in BAD_NUMBERS:
            put = partial(_put, value=value)
            yield f"{name} = {value!r}", edited_json(path, partial(edit, at=at, change=put))


def _put(part: dict, key: object, value: object) -> None:
    part[key] = value


def outcome(project: Path, clean: dict[str, str], path: str, command: str, damage: Change) -> tuple[str, str]:
    """Damage a file of a copy, run the command, and return what came of it, with what it said."""
    damage(project)
    before = contents(project)
    ended = run_stage(project, command)
    after = contents(project)
    if ended.traceback or ended.status not in (0, 2) or "Traceback" in ended.stderr:
        last = ended.traceback.strip().splitlines()[-1:] or error_lines(ended)[-1:]
        return "TRACEBACK", " ".join(last)
    if ended.status == 0:
        differing = [name for name in changes(clean, after) if name != path and not name.startswith(path + "/")]
        return ("SILENT", ", ".join(differing)) if differing else ("harmless", "")
    lines = error_lines(ended)
    named = len(lines) == 1 and (path in lines[0] or str(Path(path).parent) in lines[0])
    return ("refused", lines[0]) if named and before == after else ("UNNAMED", " | ".join(lines))


def main() -> None:
    """Make the project, damage it, and count."""
    wanted, counts = sys.argv[1:], Counter()
    with tempfile.TemporaryDirectory(prefix="mosaic-sweep-") as where:
        finished = finish(Path(where) / "project")
        clean: dict[str, dict[str, str]] = {}
        for path, command in readers():
            if command not in clean:
                project = copy(finished, Path(where) / f"clean-{len(clean)}")
                assert run_stage(project, command).status == 0
                clean[command] = contents(project)
                _remove(project)
            for kind, damage in damages(finished, path):
                if wanted and not any(word in path or word in kind for word in wanted):
                    continue
                # A place of its own: MLflow keeps the database of a place open.
                project = copy(finished, Path(where) / f"copy-{counts.total()}")
                try:
                    found, said = outcome(project, clean[command], path, command, damage)
                except AssertionError:  # the damage changes nothing
                    found, said = "harmless", ""
                finally:
                    _remove(project)
                counts[found] += 1
                if found.isupper():
                    print(f"{found}: {path}, {kind}: {command}: {said}"[:400], flush=True)
    print(", ".join(f"{found} {number}" for found, number in sorted(counts.items())))
    if is_root():
        print("mode 000 was left out: it hinders root from nothing")


def _remove(project: Path) -> None:
    shutil.rmtree(project)


if __name__ == "__main__":
    main()
