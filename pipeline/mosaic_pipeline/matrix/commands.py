"""What `python -m stages.matrix` does, by the name of each of its commands."""

import os
import sys
from argparse import Namespace

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.matrix import slurm
from mosaic_pipeline.matrix.assemble import assemble as assembled
from mosaic_pipeline.matrix.assemble import take_home
from mosaic_pipeline.matrix.clones import sweep
from mosaic_pipeline.matrix.local import LOCAL, devices, run_local, share
from mosaic_pipeline.matrix.plan import Plan, plan_here
from mosaic_pipeline.matrix.prepare import make_inputs
from mosaic_pipeline.matrix.remote import pull, push
from mosaic_pipeline.matrix.status import counted, standings
from mosaic_pipeline.matrix.work import run_cell
from mosaic_pipeline.tracking.hosts import check_several_hosts


def submit(arguments: Namespace) -> None:
    """Prepare, and queue the cells that are neither done nor queued, and the job that assembles the report."""
    plan = plan_here()
    check_several_hosts(plan.root)
    slurm.queued(plan)  # is there a Slurm?
    make_inputs(plan)
    sweep(plan)
    with plan.exclusive("submit"):  # who comes second finds in the queue what the first one submitted
        _submit(plan, arguments, slurm.queued(plan))


def _submit(plan: Plan, arguments: Namespace, tasks: list[slurm.Task]) -> None:
    found = standings(plan, tasks)
    wanted = [each.number for each in found if each.state in ("failed", "missing")]
    print(counted(found))
    if not wanted and not [each for each in found if each.state != "done"]:
        print("all cells are done; `python -m stages.matrix assemble` renders the report")
        return
    where = [f"--partition={arguments.partition}"] if arguments.partition else []
    limits = [f"--time={arguments.time}"] if arguments.time else []
    own = [*where, *limits, *slurm.gpus(_gpus(plan, arguments.gpus)), *arguments.slurm]
    cells, told = plan.parts.cells, slurm.notice(arguments.time)
    jobs, after = sorted({task.job for task in tasks if task.number is not None}), ""
    for part in ([n for n in wanted if cells[n].tunes], [n for n in wanted if not cells[n].tunes]):
        if part:
            after = slurm.submit_cells(plan, part, own, arguments.at_once, after, told)
            jobs.append(after)
            print(f"{len(part)} submitted as array {after}")
    report = slurm.submit_assembly(plan, jobs, [*where, *arguments.slurm])
    slurm.cancel(task.job for task in tasks if task.number is None)  # a report that would not wait for these
    print(f"the report is job {report}; logs are in {plan.logs}")


def status(arguments: Namespace) -> None:
    """Print how each cell stands, and how many stand how."""
    plan = plan_here(begins=False)
    found = standings(plan, _tasks(plan))
    width = max(len(each.cell) for each in found)
    for each in found:
        print(f"{each.number:>4}  {each.cell:<{width}}  {each.state:<7}  {each.said}".rstrip())
    print(counted(found))


def assemble(arguments: Namespace) -> None:
    """Render the report, and put it and dvc.lock into the main checkout if that is still at this commit."""
    plan = plan_here(begins=False)
    if arguments.pull:
        make_inputs(plan)
        pull(plan)
    _assemble(plan)


def cell(arguments: Namespace) -> None:
    """Run one cell."""
    plan = plan_here()
    if LOCAL not in os.environ:  # cells run on several hosts, as far as anybody knows
        check_several_hosts(plan.root)
    make_inputs(plan)
    mine = plan.parts.cell(arguments.number)
    run_cell(plan, mine)
    if arguments.push:
        push(plan, mine)


def prepare(arguments: Namespace) -> None:
    """Make the inputs of all cells, and say how another scheduler runs them."""
    plan = plan_here()
    make_inputs(plan)
    print(
        f"{len(plan.parts.cells)} cells, numbered from 0; one of this commit, whatever is checked out later, is run by"
    )
    print(f"    cd {plan.prepared} && DVC_ROOT={plan.root} python -m stages.matrix cell <number>")


def local(arguments: Namespace) -> None:
    """Prepare, run the cells that are not done, and assemble."""
    plan = plan_here()
    make_inputs(plan)
    sweep(plan)
    found = standings(plan, [])
    print(counted(found))
    wanted = [each.number for each in found if each.state in ("failed", "missing")]
    if wanted:
        run_local(plan, wanted, _shares(plan, arguments.workers))
    _assemble(plan)


def _assemble(plan: Plan) -> None:
    made = assembled(plan)
    if take_home(plan, made):
        print(f"report: {plan.root / 'reports' / 'index.html'}; `dvc checkout` brings models and evaluations here too")
    else:
        print(
            f"report: {made / 'reports' / 'index.html'}; {plan.root} has other code or parameters by now, so its own "
            "dvc.lock and reports stay as they are"
        )


def _tasks(plan: Plan) -> list[slurm.Task]:
    """Return what Slurm has in its queue; nothing where there is none, which is said if cells were submitted to it."""
    try:
        return slurm.queued(plan)
    except PipelineError as error:
        if (plan.folder / slurm.CELLS).exists():
            print(f"warning: which cells are queued is not known: {error}", file=sys.stderr)
        return []


def _gpus(plan: Plan, asked: int | None) -> int:
    if asked is not None:
        return asked
    compute = plan.params.compute
    return 0 if compute.device in ("cpu", "mps") else compute.processes


def _shares(plan: Plan, workers: int | None) -> list[str | None]:
    compute = plan.params.compute
    return share([] if compute.device in ("cpu", "mps") else devices(), workers, compute.processes)
