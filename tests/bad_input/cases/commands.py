"""Command lines, names and numbers in params.yaml, the environment, and places where nothing can be written."""

import errno
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from case import Case
from damage import both, empty, file, folder, loop, missing, written

TRAIN, TUNE, EVALUATE, ANALYSE = "train mosaic 42", "tune shared", "evaluate mosaic 42 A", "analyse mosaic 42"


@contextmanager
def _limited(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def small_files(project: Path) -> Any:
    """No file may be larger than 1,000 bytes."""
    return _limited(1000)


def refusing(number: int) -> Callable[[Path], Any]:
    """A disk that takes nothing, and says so when it is tried."""

    def refuse(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return lambda project: patch("os.posix_fallocate", refuse, create=True)


def raising(where: str, error: BaseException) -> Callable[[Path], Any]:
    """A function of the project that fails."""
    return lambda project: patch(where, side_effect=error)


def no_waiting(project: Path) -> Any:
    """Retries without pauses."""
    return patch.object(time, "sleep")


def variants(name: str, **overrides: Any) -> dict[str, Any]:
    """Parameters with a variant more, which runs."""
    known = {"mosaic": {"why": "any"}, name: {"why": "any"} | overrides}
    return {"ablation.variants": known, "ablation.run": ["mosaic", name], "ablation.analyse": []} | UNTUNED


UNTUNED = {"ablation.tune.variants": []}
USAGE = "; usage: python -m stages."
ARGUMENTS = [
    Case(f"{stage} of {what}", f"{stage} {given}", says=says)
    for stage, given, what, says in [
        ("train", "mosaic -5", "a negative seed", ("argument seed: '-5'", f"{USAGE}train [-h] variant seed")),
        ("train", "mosaic 4.2", "a seed with a point", ("argument seed: '4.2'", USAGE)),
        ("train", "mosaic 042", "a seed with a zero in front", ("argument seed: '042'", USAGE)),
        ("train", "mosaic ''", "an empty seed", ("argument seed: ''", USAGE)),
        ("train", "mosaic", "no seed", ("required: seed", USAGE)),
        ("train", "mosaic 42 A", "one argument more", ("unrecognized arguments: A", USAGE)),
        ("train", "mosaic 42 --resume", "an unknown option", ("unrecognized arguments: --resume", USAGE)),
        ("train", "mosaic 43", "a seed that is not listed", ("seeds: 43 is not among 42", "add it")),
        ("evaluate", "mosaic 43 A", "a seed that is not listed", ("seeds: 43 is not among 42", "add it")),
        ("analyse", "mosaic 43", "a seed that is not listed", ("seeds: 43 is not among 42", "add it")),
        ("evaluate", "mosaic 42 D", "an unknown specialist", ("params.yaml: specialists: D is not among A, B, C",)),
        (
            "download",
            "retinamnst",
            "an unknown dataset",
            ("retinamnst: no such dataset", "did you mean retinamnist?"),
        ),
        ("cache", "../retinamnist", "a path", ("argument dataset: '../retinamnist'", USAGE)),
        ("weights", "vit.npz", "an argument too many", ("unrecognized arguments: vit.npz", USAGE)),
        ("report", "mosaic", "an argument too many", ("unrecognized arguments: mosaic", USAGE)),
        ("check", "params.yaml", "an argument too many", ("unrecognized arguments: params.yaml", USAGE)),
        ("mosaic profile", "papr", "an unknown profile", ("papr: no such profile",)),
        ("mosaic describe", "--profile papr", "an unknown profile", ("papr: no such profile",)),
        (
            "mosaic describe",
            "--prof paper",
            "an option cut short",
            ("unrecognized arguments: --prof paper", "; usage: mosaic describe "),
        ),
        ("mosaic describe", "--variant msaic", "an unknown variant", ("variants.msaic: no such variant", "mosaic")),
        *(
            (command.split()[0], command.partition(" ")[2].replace("mosaic", name, 1).replace("shared", name, 1), *told)
            for command in (TRAIN, TUNE, EVALUATE, ANALYSE, "configure mosaic")
            for name, *told in (
                ("../configs/mosaic", "a path", ("argument variant: '../configs/mosaic'", USAGE)),
                ("msaic", "an unknown variant", ("variants.msaic: no such variant", "the variants are mosaic")),
            )
        ),
    ]
]

PARAMETERS = [
    Case(f"{key} is {value!r}, met by {command.split()[0]}", command, params={key: value} | more, says=(key, *says))
    for key, value, command, says, more in [
        ("compute.threads", 10**6, "check", ("1000000", "less than or equal to 1024"), {}),
        ("compute.workers", 10**6, "check", ("1000000", "less than or equal to 1024"), {}),
        ("compute.processes", 10**6, "check", ("1000000", "less than or equal to 1024"), {}),
        ("compute.processes", 1000, TRAIN, ("1000", "cores"), {}),
        ("compute.processes", 1000, TUNE, ("1000", "cores"), {}),
        ("phantom.train", 10**30, "check", ("less than 2147483648",), {}),
        ("train.batch_size", 2**31, "check", ("less than 2147483648",), {}),
        ("data.datasets", "retinamnist", "check", ("'retinamnist'", "list"), {}),
        ("seeds", 42, "check", ("42", "list"), {}),
        ("seeds", [-5], "check", ("-5", "greater than or equal to 0"), {}),
        ("ablation.run", "mosaic", "check", ("'mosaic'", "list"), {}),
        ("data.mirror", "~nosuchuser/data", "download retinamnist", ("~nosuchuser/data",), {"data.source": "mirror"}),
        ("model.weights", "~nosuchuser/vit.npz", "weights", ("~nosuchuser/vit.npz: no such file",), {}),
        (
            "data.mirror",
            "a\0b",
            "download retinamnist",
            ("one line of plain text", "\\x00"),
            {"data.source": "mirror"},
        ),
        ("model.weights", "a\0b", "weights", ("one line of plain text",), {}),
        ("report.published", "a\nb", "report", ("one line of plain text",), {}),
        ("tracking.experiment", "a\0b", "report", ("one line of plain text",), {}),
        ("tracking.experiment", "", "report", ("at least 1 character",), {}),
        ("model.backbone", "vit\n", "weights", ("one line of plain text",), {}),
        ("data.mirror", "x" * 5000, "check", ("at most 1000 characters",), {}),
        ("model.weights", "http://user:se@cret@127.0.0.1:1/vit.npz\n", "weights", ("'http://127.0.0.1:1/vit.npz",), {}),
    ]
]

NAMES = [
    *(
        Case(f"a variant is called {name!r}", "check", params=variants(name), says=("ablation.variants", "lower case"))
        for name in ("a;b", "$(touch x)", "a'b", "a b", "a\nb", "../mosaic", "Mosaic", "x" * 65)
    ),
    *(
        Case(
            f"a dataset is called {name!r}",
            "check",
            params={"data.datasets": [name]},
            says=("params.yaml: data.datasets",),
        )
        for name in ("a;b", "$(touch x)", "a'b", "a\nb", "../../x", ["retinamnist"], {"$(touch x)": 1}, None)
    ),
    Case(
        "a reason with a control character",
        "check",
        params={"ablation.variants": {"mosaic": {"why": "red \x1b[31m"}}, "ablation.run": ["mosaic"]}
        | {"ablation.analyse": []}
        | UNTUNED,
        says=("variants: mosaic: why: say in one line",),
    ),
]

ENVIRONMENT = [
    Case(
        f"{command.split()[0]} with LOCAL_RANK and {'no more' if len(variables) == 1 else 'half of the rest'}",
        command,
        environment=variables,
        says=("LOCAL_RANK is set", f"but {lacks}", "unset LOCAL_RANK, or start with torchrun"),
    )
    for command in (TRAIN, TUNE)
    for variables, lacks in [
        ({"LOCAL_RANK": "0"}, "RANK is not"),
        ({"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2"}, "MASTER_PORT is not"),
    ]
] + [
    Case(
        "LOCAL_RANK is a word",
        TRAIN,
        environment={"LOCAL_RANK": "first"},
        says=("LOCAL_RANK is 'first', no number", "torchrun"),
    ),
    Case(
        "the MLflow server is not there, and its URL has a password",
        EVALUATE,
        no_waiting,
        environment={"MLFLOW_TRACKING_URI": "http://user:se@cret@127.0.0.1:1"},
        says=("MLflow store http://127.0.0.1:1: ", "unset MLFLOW_TRACKING_URI"),
    ),
    Case(
        "the mirror is no URL, and has a password",
        "download retinamnist",
        no_waiting,
        params={"data.source": "mirror", "data.mirror": "http://user:se@cret@host:port/data"},
        says=("error: http://host:port/data/retinamnist.npz: not a URL",),
    ),
    Case(
        "the weights' address is no URL, and has a password",
        "weights",
        no_waiting,
        params={"model.weights": "http://user:se@cret@host:port/vit.npz"},
        says=("http://host:port/vit.npz: not a URL",),
    ),
    Case(
        "tracing is asked for with an unknown word, which is a yes",
        "train mosaic 42",
        written("params.yaml", "- 1\n"),
        environment={"MOSAIC_DEBUG": "0"},
        says=("params.yaml: expected a mapping",),
    ),
]

# What a stage comes to, where it is to stand, and whether it is noticed before the work (which costs more than a file).
PLACES = [
    *(
        Case(f"{command.split()[0]}: {place} is a file", command, file(place), says=(place, "stands"))
        for command, place in [
            ("download retinamnist", "data/raw"),
            ("cache retinamnist", "data/cached"),
            ("configure mosaic", "candidates"),
            (TUNE, "tuning"),
            (TRAIN, "runs"),
            (EVALUATE, "evaluation"),
            (ANALYSE, "analysis"),
            ("report", "reports"),
        ]
    ),
    *(
        Case(f"{command.split()[0]}: {place} is a folder", command, folder(place), says=(place, "folder"))
        for command, place in [
            (TUNE, "tuning/shared.json"),
            (TUNE, "configs/shared.yaml"),
            (TRAIN, "runs/mosaic/42/model.safetensors"),
            (TRAIN, "runs/mosaic/42/history.csv"),
            (EVALUATE, "evaluation/mosaic/42/A.json"),
            (EVALUATE, "evaluation/mosaic/42/A.npz"),
            (ANALYSE, "analysis/mosaic/42.json"),
        ]
    ),
    *(
        Case(
            f"{command.split()[0]}: files may not be large",
            command,
            small_files,
            says=(place, "too large", "ulimit -f"),
        )
        for command, place in [(TUNE, "tuning"), (TRAIN, "runs"), (EVALUATE, "evaluation"), (ANALYSE, "analysis")]
    ),
    *(
        Case(f"{command.split()[0]}: {os.strerror(number)}", command, refusing(number), says=(place, way_out))
        for command, place in [(TUNE, "tuning"), (TRAIN, "runs"), (EVALUATE, "evaluation"), (ANALYSE, "analysis")]
        for number, way_out in [(errno.ENOSPC, "free some space"), (errno.EROFS, "writable")]
    ),
]

UNFORESEEN = [
    Case(
        f"train meets {type(error).__name__} {error}".strip(),
        TRAIN,
        raising("mosaic_pipeline.data.batches.open_splits", error),
        says=says,
        status=status,
    )
    for error, status, says in [
        (MemoryError(), 2, ("out of memory", "train.batch_size")),
        (torch.OutOfMemoryError("CUDA out of memory.\nTried"), 2, ("out of memory", "compute.device_cache_gb")),
        (RuntimeError("can't start new thread"), 2, ("ulimit -u", "compute.workers")),
        (OSError(errno.EMFILE, "Too many open files", "x.npy"), 2, ("x.npy: too many open files", "ulimit -n")),
        (OSError(errno.EIO, "Input/output error", "x.npy"), 2, ("x.npy: input/output error", "check it")),
        (PermissionError(errno.EACCES, "Permission denied", "x.npy"), 2, ("x.npy: permission denied", "ls -ld")),
        (KeyError("a\nb"), 70, ("train: KeyError: 'a\\nb' (stages/train.py:", "MOSAIC_DEBUG=1")),
        (RecursionError("maximum recursion depth exceeded"), 70, ("train: RecursionError", "MOSAIC_DEBUG=1")),
    ]
]

FILES = [
    Case("params.yaml is a folder", "check", folder("params.yaml"), says=("params.yaml", "folder")),
    Case("params.yaml is a link to itself", "check", loop("params.yaml"), says=("params.yaml", "link")),
    Case("params.yaml is gone", "check", missing("params.yaml"), says=("params.yaml: no such file",)),
    Case("params.yaml is empty", "check", empty("params.yaml"), says=("params.yaml: expected a mapping",)),
    Case(".cache is a file", "check", both(missing(".cache"), written(".cache", "x")), says=(".cache", "stands")),
    Case("params.yaml nests too deep", "check", written("params.yaml", "[" * 5000), says=("params.yaml",)),
]

CASES = [*ARGUMENTS, *PARAMETERS, *NAMES, *ENVIRONMENT, *PLACES, *UNFORESEEN, *FILES]
