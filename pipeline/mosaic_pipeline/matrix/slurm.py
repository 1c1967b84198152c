"""Cells as tasks of arrays of Slurm's: the script, what is in the queue, and submitting."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.matrix.plan import Plan

NOTICE = 120  # seconds before its time limit that a task is told to save its work, or a quarter of a short limit
TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")
# Fields of squeue, by what each is to us: array, number in it, state, reason, name.
FIELDS = "%F|%K|%t|%r|%j"
WAITING = {"PD", "CF", "RQ", "RH", "RF", "SE", "SO"}  # held, requeued and still configuring ones among them

CELLS = "cells.sh"
# A task that is told to end exits with 143 and has saved its work. If its job is still RUNNING then, its time limit or
# a preemption with a time of grace is near, or somebody sent it a signal: it queues again, which Slurm does by itself
# for no exit status. If the job is not RUNNING any more, Slurm ended it: it has queued a preempted one again already,
# and one that was cancelled is meant to stay so.
SCRIPT = """#!/bin/bash
# Written by `python -m stages.matrix submit`.
export PATH={path}:"$PATH" DVC_ROOT={root}
cd {checkout} || exit 2
trap 'kill -TERM $cell 2>/dev/null' TERM
python -m stages.matrix cell "$SLURM_ARRAY_TASK_ID" &
cell=$!
wait $cell
status=$?
while kill -0 $cell 2>/dev/null; do  # a trap ends a wait
    wait $cell
    status=$?
done
task="${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
if [ $status = 143 ]; then
    for attempt in 1 2 3 4 5; do  # a controller that is busy answers another time
        state=$(squeue --noheader --array --jobs="$task" --format=%T) && break
        sleep 2
    done
    [ "$state" = RUNNING ] && scontrol requeue "$task"
fi
exit $status
"""
ASSEMBLY = """#!/bin/bash
# Written by `python -m stages.matrix submit`.
export PATH={path}:"$PATH" DVC_ROOT={root}
cd {checkout} || exit 2
exec python -m stages.matrix assemble
"""


@dataclass(frozen=True)
class Task:
    """A task in the queue: its array, its number there (None for a job that is no array), and how it stands."""

    job: str
    number: int | None
    state: str
    reason: str

    @property
    def waits(self) -> bool:
        """Whether it does not run yet."""
        return self.state in WAITING


def queued(plan: Plan) -> list[Task]:
    """Return the tasks of an ablation that are in the queue. Raises PipelineError if Slurm does not answer."""
    tasks = []
    for line in _slurm(["squeue", "--me", "--noheader", "--array", f"--format={FIELDS}"]).splitlines():
        job, number, state, reason, name = [*line.split("|", 4), *[""] * 4][:5]
        if name == plan.name or name == f"{plan.name}-report":
            tasks.append(Task(job, int(number) if number.isdigit() else None, state, reason))
    return tasks


def notice(time: str | None) -> int:
    """Return how many seconds before a time limit of Slurm's form a task is told."""
    found = TIME.fullmatch(time or "")
    if not found:
        return NOTICE
    parts = [int(part) for part in found["parts"].split(":")]
    if found["days"]:
        hours, minutes, seconds = [*parts, 0, 0][:3]  # 1-12:30
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, [*parts, 0][:2]  # 90, or 90:00
    return min(NOTICE, (((int(found["days"] or 0) * 24 + hours) * 60 + minutes) * 60 + seconds) // 4)


def submit_cells(
    plan: Plan, numbers: Sequence[int], options: Sequence[str], at_once: int | None, after: str, told: int
) -> str:
    """Submit these cells as an array, and return its id.

    It waits until the job `after` has ended, if that is given; tasks are told `told` seconds before a time limit.
    """
    plan.logs.mkdir(parents=True, exist_ok=True)
    limit = f"%{at_once}" if at_once else ""
    command = [
        "sbatch",
        "--parsable",
        f"--job-name={plan.name}",
        f"--array={','.join(map(str, numbers))}{limit}",
        f"--output={plan.logs / '%a.log'}",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:TERM@{told}",
        *([f"--dependency=afterany:{after}"] if after else []),
        *options,
    ]
    return _submitted(plan, CELLS, SCRIPT, command)


def submit_assembly(plan: Plan, jobs: Iterable[str], options: Sequence[str]) -> str:
    """Submit the job that assembles the report when those jobs have ended, however; return its id."""
    command = [
        "sbatch",
        "--parsable",
        f"--job-name={plan.name}-report",
        f"--output={plan.logs / 'report.log'}",
        "--open-mode=append",
        f"--dependency=afterany:{':'.join(jobs)}",
        *options,
    ]
    return _submitted(plan, "report.sh", ASSEMBLY, command)


def cancel(jobs: Iterable[str]) -> None:
    """Take jobs out of the queue."""
    for job in jobs:
        _slurm(["scancel", job])


def gpus(count: int) -> list[str]:
    """Return the options by which each task gets so many GPUs of its own."""
    return [f"--gres=gpu:{count}"] if count else []


def _submitted(plan: Plan, name: str, script: str, command: list[str]) -> str:
    file = plan.folder / name
    values = {"path": Path(sys.executable).parent, "root": plan.root, "checkout": plan.prepared}
    write_text(file, script.format(**{key: shlex.quote(str(value)) for key, value in values.items()}))
    return _slurm([*command, str(file)]).strip().partition(";")[0]


def _slurm(command: list[str]) -> str:
    """Return what a command of Slurm's prints. Raises PipelineError with its own words if it fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise PipelineError(
            f"{command[0]}: no such command, so no Slurm on this machine; `python -m stages.matrix local` runs "
            "cells without it"
        ) from None
    if result.returncode:
        said = [line for line in result.stderr.splitlines() if line.strip()]
        raise PipelineError(said[-1] if said else f"{command[0]}: exit status {result.returncode}")
    return result.stdout
