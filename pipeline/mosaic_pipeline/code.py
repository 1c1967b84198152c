"""Which code decides what a stage makes: the modules that it imports, and what lies beside them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mosaic_pipeline.digest import md5_file, md5_text
from mosaic_pipeline.model.kinds import KINDS

ROOT = Path(__file__).parents[2]
# Beside the checkout's own packages (`stages`) lies the library's source, as in a layout with `src`.
LIBRARY = "pipeline"
PACKAGE = f"{LIBRARY}/mosaic_pipeline"
# How a stage runs, reads, writes and logs, not what it makes: what a reader lets pass, it passes on as it is.
HOW = (
    f"{PACKAGE}/arguments.py",
    f"{PACKAGE}/arrays.py",
    f"{PACKAGE}/atomic.py",
    f"{PACKAGE}/code.py",
    f"{PACKAGE}/command.py",
    f"{PACKAGE}/digest.py",
    f"{PACKAGE}/download.py",
    f"{PACKAGE}/errors.py",
    f"{PACKAGE}/explain.py",
    f"{PACKAGE}/launch.py",
    f"{PACKAGE}/layout.py",
    f"{PACKAGE}/reading.py",
    f"{PACKAGE}/redact.py",
    f"{PACKAGE}/waiting.py",
    f"{PACKAGE}/tracking",
)
# What decides in these stages alone. Of the parameters, those that count are in files or named in dvc.yaml.
ONLY_IN = {
    f"{PACKAGE}/fields.py": ("configure", "declare", "seg_configure"),
    f"{PACKAGE}/own.py": ("configure", "declare", "own"),
    f"{PACKAGE}/params.py": ("configure", "declare"),
    f"{PACKAGE}/segmentation/custom.py": ("seg_index",),
    f"{PACKAGE}/segmentation/params.py": (),
    f"{PACKAGE}/lineage.py": ("evaluate", "analyse", "corrupt", "transfer"),
}
# What a module imports by names of a table, where no statement shows it.
BY_NAME = {f"{PACKAGE}/model/mosaic.py": tuple(f"{PACKAGE}/model/{kind}.py" for kind in KINDS)}
# What reads files of one's own makes nothing of any other dataset, so it is no code of the stages that import it: its
# digest is declared with each dataset that it reads (pipeline/mosaic_pipeline/declared.py).
OWN = f"{PACKAGE}/data/own"


def list_code(stage: str, root: Path = ROOT) -> str:
    """Return the files that decide what a stage makes: a line with md5 and path of each, sorted."""
    return _list(stage, [stage_file(stage, root), *([_own(root)] if stage == "declare" else [])], root)


def stage_file(stage: str, root: Path = ROOT) -> Path:
    """Return the module of a stage: `seg_train` is segmentation's `train`."""
    own = stage.removeprefix("seg_")
    return root / "stages" / (f"{own}.py" if own == stage else f"segmentation/{own}.py")


def code_digest(stage: str) -> str:
    """Return one md5 for the code of a stage."""
    return md5_text(list_code(stage))


def own_digest(root: Path = ROOT) -> str:
    """Return one md5 for the code that reads files of one's own."""
    return md5_text(_list("own", [_own(root)], root))


def _own(root: Path) -> Path:
    return root / OWN / "build.py"


def _list(stage: str, todo: list[Path], root: Path) -> str:
    modules: set[Path] = set()
    while todo:
        module = todo.pop()
        # What a module imports that decides nothing decides nothing by it either.
        if module not in modules and _decides(module.relative_to(root).as_posix(), stage):
            modules.add(module)
            todo += _imported(module, root)
            todo += [root / name for name in BY_NAME.get(module.relative_to(root).as_posix(), ())]
    files = modules | {file for module in modules for file in _beside(module)}
    named = {file.relative_to(root).as_posix(): file for file in files}
    return "".join(f"{md5_file(named[name])}  {name}\n" for name in sorted(named) if _decides(name, stage))


def _decides(name: str, stage: str) -> bool:
    if any(name == part or name.startswith(f"{part}/") for part in HOW):
        return False
    return stage in ONLY_IN.get(name, (stage,))


def _imported(module: Path, root: Path) -> Iterator[Path]:
    """Yield the project's modules that one imports, wherever in it, but for what only types need."""
    for name, parts in _imports(module.read_text(encoding="utf-8")):
        home = root / LIBRARY if name.startswith("mosaic_pipeline") else root
        folder = home.joinpath(*name.split("."))
        for candidate in (folder, *(folder / part for part in parts)):
            file = candidate.with_suffix(".py")
            own = root / OWN in file.parents and root / OWN not in module.parents
            if file.is_file() and not own:
                yield file


@cache  # most modules are those of many stages
def _imports(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return what a module imports from where, wherever in it, but for what only types need."""
    tree = ast.parse(text)
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    return tuple(
        (node.module, tuple(alias.name for alias in node.names))
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node not in for_types
    )


def _beside(module: Path) -> Iterator[Path]:
    """Yield what a package has beside its modules, such as templates."""
    for folder in module.parent.iterdir():
        if folder.is_dir() and not folder.name.startswith(("_", ".")) and not any(folder.glob("*.py")):
            yield from (file for file in folder.rglob("*") if file.is_file())
