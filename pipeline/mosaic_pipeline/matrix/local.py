"""The cells of an ablation on this machine: so many at a time, each with GPUs of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock
from time import monotonic

from mosaic_pipeline.command import GracefulStop
from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.matrix.plan import Plan
from mosaic_pipeline.matrix.records import read_record

VISIBLE = "CUDA_VISIBLE_DEVICES"
LOCAL = "MOSAIC_CELLS_OF_ONE_HOST"  # set for a cell that this machine started


def devices() -> list[str]:
    """Return the names by which CUDA knows this machine's GPUs, or those of them that this process may see."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name for name in named.split(",") if name]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def share(found: Sequence[str], workers: int | None, processes: int) -> list[str | None]:
    """Return for each worker which GPUs are its own; None for one without any, where there are none.

    As many workers as there are GPUs for, unless a number is given. Raises PipelineError if there are too few.
    """
    if not found:
        return [None] * (workers or 1)
    most = len(found) // processes
    if not most or (workers or 1) > most:
        raise PipelineError(
            f"--workers {workers or 1}: each wants {processes} GPU{'s' * (processes > 1)} (compute.processes), and the "
            f"{len(found)} here are enough for {most}"
        )
    chosen = workers or most
    return [",".join(found[worker * processes : (worker + 1) * processes]) for worker in range(chosen)]


class Workers:
    """Runs cells in processes, as many at a time as there are shares of GPUs."""

    def __init__(self, plan: Plan, shares: Sequence[str | None], stop: GracefulStop) -> None:
        """Begin with no process; when a stop is requested no cell begins any more."""
        self._plan, self._stop = plan, stop
        self._shares: SimpleQueue[str | None] = SimpleQueue()
        for each in shares:
            self._shares.put(each)
        self._count = len(shares)
        self._running: dict[str, subprocess.Popen] = {}
        self._changed = Lock()

    def run(self, numbers: Sequence[int]) -> list[str]:
        """Run these cells and return the names of those that failed."""
        with ThreadPoolExecutor(self._count) as pool:
            work = [pool.submit(self._run, number) for number in numbers]
            while not all(each.done() for each in work):
                self._wait(work)
        return [name for each in work if (name := each.result())]

    def _wait(self, work: Sequence) -> None:
        from concurrent.futures import FIRST_COMPLETED, wait

        wait([each for each in work if not each.done()], timeout=0.2, return_when=FIRST_COMPLETED)
        if self._stop.requested:
            with self._changed:
                for process in self._running.values():
                    with suppress(ProcessLookupError):
                        process.terminate()
                self._running.clear()

    def _run(self, number: int) -> str | None:
        """Run one cell; return its name if it failed."""
        cell = self._plan.parts.cells[number]
        if self._stop.requested:
            return None
        log = self._plan.logs / f"{number}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        mine = self._shares.get()
        environment = self._plan.environment() | {LOCAL: "1"} | ({} if mine is None else {VISIBLE: mine})
        began = monotonic()
        print(f"{cell.name}: begins{f' on GPU {mine}' if mine else ''}, {log}", flush=True)
        try:
            with open(log, "a", encoding="utf-8") as file:
                process = subprocess.Popen(
                    [sys.executable, "-m", "stages.matrix", "cell", str(number)],
                    cwd=self._plan.prepared,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for this process, which passes it on
                )
                with self._changed:
                    self._running[cell.name] = process
                status = process.wait()
        finally:
            self._shares.put(mine)
            with self._changed:
                self._running.pop(cell.name, None)
        if status == 0:
            print(f"{cell.name}: done in {monotonic() - began:.0f} s", flush=True)
            return None
        record = read_record(self._plan.folder, cell.name)
        said = record.said if record and record.said else f"exit status {status}"
        print(f"{cell.name}: {'stopped' if self._stop.requested else f'failed: {said}'}", flush=True)
        return None if self._stop.requested else cell.name


def run_local(plan: Plan, numbers: Sequence[int], shares: Sequence[str | None]) -> None:
    """Run cells, those that tune first, as many at a time as there are shares of GPUs.

    A cell that fails leaves the others running. Raises PipelineError that names those that failed, and what a signal
    stands for when one came; running cells then save their work first.
    """
    cells = plan.parts.cells
    with GracefulStop() as stop:
        workers, failed = Workers(plan, shares, stop), []
        for tunes in (True, False):
            failed += workers.run([number for number in numbers if cells[number].tunes == tunes])
        if stop.requested:
            raise stop.exception
    if failed:
        raise PipelineError(f"{few(failed, 5)}: failed; `python -m stages.matrix status` says why; logs: {plan.logs}")
