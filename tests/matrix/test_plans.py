"""What an ablation is divided into, and what is known of it: by dvc.yaml, the run cache and records, without DVC."""

import hashlib
import json
import os
import socket
from argparse import Namespace
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from dvc.dvcfile import load_file
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from filelock import FileLock
from small import ROOT, Repository, copied

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.matrix import commands, remote, slurm, work
from mosaic_pipeline.matrix.cells import divide
from mosaic_pipeline.matrix.clones import clone, keep_commit, sweep
from mosaic_pipeline.matrix.definitions import Definition, read_definitions
from mosaic_pipeline.matrix.plan import Plan, plan_here
from mosaic_pipeline.matrix.records import Record, read_record, record_file, write_record
from mosaic_pipeline.matrix.results import Results
from mosaic_pipeline.matrix.slurm import Task
from mosaic_pipeline.matrix.status import counted, standings

EVERYTHING = {
    "data": {"datasets": ["retinamnist", "breastmnist"], "external": ["bloodmnist"], "corruptions": ["noise"]},
    "specialists": ["A", "B"],
    "seeds": [1, 2],
    "ablation": {"run": ["mosaic", "shared"], "tune": {"variants": ["shared"]}},
    "train": {"lr": 1e-05},  # which DVC writes without a point
    "segmentation": {"data": {"datasets": ["atlas23"]}, "ablation": {"run": ["m4oe"]}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Repository:
    """A project with a stage of every kind, never run."""
    repository = copied(tmp_path_factory.mktemp("everything"), EVERYTHING)
    repository.run("dvc", "init", "-q", "-f")
    return repository


@pytest.fixture(scope="module")
def definitions(project) -> dict[str, Definition]:
    return read_definitions(project.folder)


def test_stages_are_those_that_dvc_finds_in_its_file(project, definitions):
    with Repo(str(project.folder)) as repo:
        found = load_file(repo, str(project.folder / "dvc.yaml")).stages
        assert list(definitions) == list(found)
        one_of_each = {each.group: each for each in definitions.values()}
        assert set(one_of_each) == set(yaml.safe_load((project.folder / "dvc.yaml").read_text())["stages"])
        for each in one_of_each.values():
            stage = found[each.name]
            params = {key for dep in stage.deps if hasattr(dep, "params") for key in dep.params}
            assert each.cmd == stage.cmd
            assert sorted(each.params) == sorted(params)
            assert sorted(each.outs) == sorted(out.def_path for out in stage.outs)
            assert sorted(each.deps) == sorted(dep.def_path for dep in stage.deps if not hasattr(dep, "params"))


def test_stages_stand_in_the_order_in_which_dvc_runs_them(project, definitions):
    with Repo(str(project.folder)) as repo:
        steps = plan_repro(get_active_graph(repo.index.graph), list(repo.index.stages))
    assert list(definitions) == [stage.name for stage in steps]


def test_every_stage_is_prepared_of_one_cell_or_a_report(definitions):
    parts = divide(definitions, ("shared",))
    places = [*parts.prepared, *parts.reports, *(stage for cell in parts.cells for stage in cell.stages)]
    assert Counter(each.name for each in places) == Counter(list(definitions))
    cells = {cell.name: [stage.name for stage in cell.stages] for cell in parts.cells}
    assert next(iter(cells)) == "tune.shared"  # which others wait for
    assert cells["mosaic-1"] == [
        "train@mosaic-1",
        "evaluate@mosaic-1-A",
        "evaluate@mosaic-1-B",
        "analyse@mosaic-1",
        "corrupt@mosaic-1-noise",
        "transfer@mosaic-1-bloodmnist",
    ]
    assert cells["seg.m4oe-2"] == ["seg_train@m4oe-2", "seg_evaluate@m4oe-2", "seg_analyse@m4oe-2"]
    assert cells["recognition"] == ["recognise", "recognise_external@bloodmnist"]
    assert "tune@mosaic" in [each.name for each in parts.prepared]
    with pytest.raises(PipelineError, match=f"cell {len(cells)}: there are {len(cells)}, numbered from 0"):
        parts.cell(len(cells))


# A pipeline of three stages, as results of the cache.


@pytest.fixture
def three() -> list[Definition]:
    return [
        Definition("train@a-1", "train", ("inputs", "code"), {"seed": 1}, ("model", "log")),
        Definition("evaluate@a-1", "evaluate", ("model",), {}, ("scores",)),
        Definition("analyse@a-1", "analyse", ("model",), {}, ("looks",)),
    ]


def cached(cache: Path, text: str) -> str:
    md5 = hashlib.md5(text.encode()).hexdigest()
    file = cache / "files/md5" / md5[:2] / md5[2:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return md5


def kept(cache: Path, stage: Definition, deps: dict[str, str], outs: dict[str, str]) -> None:
    """Put a record of a run into the run cache, under the digest that DVC takes."""
    content = {
        "cmd": stage.cmd,
        "deps": [{"path": path, "hash": "md5", "md5": md5} for path, md5 in sorted(deps.items())],
        "outs": sorted(outs),
    }
    if stage.params:
        content["params"] = {"params.yaml": dict(stage.params)}
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    folder = cache / "runs" / key[:2] / key
    folder.mkdir(parents=True)
    content["outs"] = [{"path": path, "hash": "md5", "md5": md5, "size": 1} for path, md5 in sorted(outs.items())]
    (folder / "record").write_text(yaml.safe_dump(content))


@pytest.fixture
def cache(tmp_path, three) -> Path:
    """Trained and evaluated, not analysed."""
    made = {name: cached(tmp_path, name) for name in ("model", "log", "scores")}
    kept(tmp_path, three[0], {"inputs": "i" * 32, "code": "c" * 32}, {"model": made["model"], "log": made["log"]})
    kept(tmp_path, three[1], {"model": made["model"]}, {"scores": made["scores"]})
    return tmp_path


def read(cache: Path, inputs: str = "i" * 32) -> Results:
    entries = {"cache": {"outs": [{"path": "inputs", "hash": "md5", "md5": inputs}]}}
    return Results(cache, entries, {"code": {"md5": "c" * 32}})


def test_what_is_made_is_followed_from_stage_to_stage(cache, three):
    results = read(cache)
    assert results.lacking(three) == ["analyse@a-1"]
    assert results.entries["evaluate@a-1"]["outs"][0]["path"] == "scores"


def test_other_inputs_are_another_training_and_all_that_comes_of_it_is_lacking(cache, three):
    assert read(cache, "j" * 32).lacking(three) == [stage.name for stage in three]
    changed = [Definition("train@a-1", "train", three[0].deps, {"seed": 2}, three[0].outs), *three[1:]]
    assert read(cache).lacking(changed) == [stage.name for stage in three]


def test_a_result_whose_bytes_are_gone_is_lacking(cache, three):
    md5 = hashlib.md5(b"log").hexdigest()
    (cache / "files/md5" / md5[:2] / md5[2:]).unlink()
    assert "train@a-1" in read(cache).lacking(three)


def test_what_a_remote_is_asked_for_is_what_records_name_and_the_cache_lacks(cache, three):
    assert read(cache).uncached(three) == []
    md5s = {name: hashlib.md5(name.encode()).hexdigest() for name in ("model", "scores", "one")}
    listed = json.dumps([{"md5": md5s["one"], "relpath": "one.nii.gz"}])
    folder = f"{hashlib.md5(listed.encode()).hexdigest()}.dir"
    kept(cache, three[2], {"model": md5s["model"]}, {"looks": folder})
    for name in ("model", "scores"):
        (cache / "files/md5" / md5s[name][:2] / md5s[name][2:]).unlink()
    assert read(cache).uncached(three) == [md5s["model"], md5s["scores"], folder]
    file = cache / "files/md5" / folder[:2] / folder[2:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(listed)
    assert read(cache).uncached(three) == [md5s["model"], md5s["scores"], md5s["one"]]  # of which its list tells


def test_a_record_that_was_half_written_counts_as_none(cache, three):
    for record in cache.glob("runs/*/*/record"):
        record.write_text(record.read_text()[: record.stat().st_size // 2])
    assert read(cache).lacking(three) == [stage.name for stage in three]


# A plan whose cells are two.


class SmallPlan(Plan):
    """A plan of two cells, of which the first one's results are there."""

    @property
    def parts(self):
        stages = {
            name: Definition(name, "", (), {}, (), {"variant": "a", "seed": name[-1]}) for name in ("t@a-1", "t@a-2")
        }
        return divide(stages, ())

    def results(self):
        return Results(self.root, {"t@a-1": {"outs": []}}, {})


@pytest.fixture
def plan(tmp_path) -> Plan:
    plan = SmallPlan(tmp_path, "r" * 40, "c" * 40)
    plan.folder.mkdir(parents=True)
    return plan


def second(plan: Plan, tasks=()) -> tuple[str, str]:
    done, other = standings(plan, tasks)
    assert (done.state, done.said) == ("done", "")
    return other.state, other.said


def test_how_a_cell_stands_is_told_by_slurm_then_by_who_holds_it_then_by_its_last_attempt(plan):
    assert second(plan) == ("missing", "")
    write_record(plan.folder, "a-2", Record.now("failed", "no such file"))
    assert second(plan) == ("failed", "no such file")
    assert second(plan, [Task("7", 1, "PD", "Priority")]) == ("waiting", "Slurm 7_1, Priority")
    assert second(plan, [Task("7", 1, "R", "None")]) == ("running", "Slurm 7_1")
    assert second(plan, [Task("7", 0, "R", "None"), Task("8", None, "R", "None")])[0] == "failed"
    write_record(plan.folder, "a-2", Record.now("stopped"))
    assert second(plan)[0] == "missing"
    write_record(plan.folder, "a-2", Record.now("running"))
    state, said = second(plan)
    assert (state, said.split(";")[0]) == ("failed", f"killed on {socket.gethostname()}")
    with FileLock(plan.folder / ".cell-a-2.lock"):
        assert second(plan)[0] == "running"
    write_record(plan.folder, "a-2", Record.now("done"))
    assert second(plan)[0] == "missing"
    assert counted(standings(plan, [])) == "2 cells: 1 done, 1 missing"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "done"}', "\0"])
def test_a_damaged_record_is_none(plan, text):
    record_file(plan.folder, "a-2").parent.mkdir()
    record_file(plan.folder, "a-2").write_text(text)
    assert read_record(plan.folder, "a-2") is None


def test_folders_that_nobody_holds_are_swept_and_others_are_not(plan):
    for name in ("cell-a-1", "cell-a-2"):
        (plan.folder / "work" / name / "data").mkdir(parents=True)
    with FileLock(plan.folder / ".cell-a-2.lock"):
        sweep(plan)
        assert [path.name for path in (plan.folder / "work").iterdir()] == ["cell-a-2"]


def test_a_plan_begins_with_what_is_committed_alone(tmp_path, monkeypatch):
    repository = Repository(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match="no git commit here"):
        plan_here()
    repository.run("git", "init", "-q")
    (tmp_path / "params.yaml").write_text("a: 1\n")
    (tmp_path / "README.md").write_text("b\n")
    repository.commit("begin")
    begun = plan_here()
    assert begun.root == tmp_path
    (tmp_path / "README.md").write_text("c\n")
    repository.commit("no code")
    assert plan_here().folder == begun.folder  # results and documents begin nothing anew
    (tmp_path / "params.yaml").write_text("a: 2\n")
    with pytest.raises(PipelineError, match=r"params\.yaml: changed and not committed"):
        plan_here()
    assert plan_here(begins=False).folder == begun.folder
    repository.commit("other parameters")
    assert plan_here().folder != begun.folder


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"data": 5}', '{"data": {}}'])
def test_what_was_prepared_is_read_or_told_to_be_damaged(tmp_path, text):
    plan = Plan(tmp_path, "r" * 40, "c" * 40)
    plan.prepared.mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml"):
        (plan.prepared / name).write_bytes((ROOT / name).read_bytes())
    with pytest.raises(PipelineError, match="nothing of commit rrrr"):
        plan.results()
    (plan.folder / "prepared.json").write_text(text)
    with pytest.raises(PipelineError, match="begin again"):
        plan.results()


def test_a_clone_keeps_the_keys_of_a_remote_to_its_owner_and_finds_the_cache(tmp_path):
    origin = Repository(tmp_path / "some #1, origin")
    origin.folder.mkdir()
    origin.run("git", "init", "-q")
    origin.run("dvc", "init", "-q")
    origin.commit("begin")
    (origin.folder / ".dvc/config.local").write_text("['remote \"group\"']\n    secret_access_key = word\n")
    plan = Plan(origin.folder, "r" * 40, origin.run("git", "rev-parse", "HEAD").strip())
    keep_commit(plan)
    clone(plan, plan.root, tmp_path / "clone")
    local = tmp_path / "clone/.dvc/config.local"
    assert local.stat().st_mode & 0o777 == 0o600
    assert "word" in local.read_text()
    there = Repository(tmp_path / "clone")
    assert there.run("dvc", "cache", "dir").strip() == str(origin.folder / ".dvc/cache")
    assert origin.run("git", "for-each-ref", "refs/mosaic").split()[0] == plan.commit


def test_a_clone_that_fails_leaves_no_folder_and_is_the_reason(plan):
    with pytest.raises(PipelineError, match="git"):
        work.run_cell(plan, plan.parts.cell(1))
    assert read_record(plan.folder, "a-2").state == "failed"
    assert "git" in read_record(plan.folder, "a-2").said
    assert list((plan.folder / "work").iterdir()) == []


def test_a_push_that_is_not_whole_keeps_the_records_here(plan, monkeypatch):
    sent = []
    store = SimpleNamespace(push=lambda remote: sent.append("records"))
    cloud = SimpleNamespace(push=lambda hashes: SimpleNamespace(failed=failed))
    monkeypatch.setattr(remote, "_remote", lambda plan: nullcontext(SimpleNamespace(cloud=cloud, stage_cache=store)))
    failed = {"one"}
    with pytest.raises(PipelineError, match="a-1: 1 files did not reach"):
        remote.push(plan, plan.parts.cell(0))
    assert sent == []
    failed = set()
    remote.push(plan, plan.parts.cell(0))
    assert sent == ["records"]


# Slurm's programs, as far as submitting calls them.
STUB = """#!/bin/sh
echo "$(basename "$0") $*" >> {log}
case $(basename "$0") in
    sbatch) wc -l < {log} ;;
    squeue) cat {queue} ;;
esac
"""


@pytest.fixture
def stubbed(plan, monkeypatch):
    """A Slurm that takes everything; `called` says what it was asked, `queue` is what it has."""
    folder = plan.root / "programs"
    folder.mkdir()
    log, queue = folder / "log", folder / "queue"
    queue.write_text("")
    for name in ("sbatch", "squeue", "scancel"):
        (folder / name).write_text(STUB.format(log=log, queue=queue))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return SimpleNamespace(
        called=lambda: log.read_text().splitlines(),
        queue=lambda *lines: queue.write_text("".join(f"{line}\n" for line in lines)),
    )


def submit(plan: Plan) -> None:
    arguments = Namespace(partition="gpu", time="1:00", gpus=1, at_once=2, slurm=["--account=lab"])
    commands._submit(plan, arguments, slurm.queued(plan))


def test_cells_and_the_report_get_what_is_passed_on(plan, stubbed):
    submit(plan)
    cells, report = [line for line in stubbed.called() if line.startswith("sbatch")]
    for option in (
        "--array=1%2",
        "--partition=gpu",
        "--account=lab",
        "--gres=gpu:1",
        "--signal=B:TERM@15",
        "--time=1:00",
    ):
        assert option in cells.split()
    assert {"--partition=gpu", "--account=lab", "--dependency=afterany:2"} <= set(report.split())
    assert not [option for option in report.split() if option.startswith(("--gres", "--time"))]


def test_what_is_queued_is_waited_for_and_jobs_of_another_checkout_are_left_alone(plan, stubbed):
    other = SmallPlan(plan.root / "elsewhere", plan.revision, plan.commit)
    stubbed.queue(
        f"7|1|R|None|{plan.name}", f"8|N/A|PD|Dependency|{plan.name}-report", f"9|N/A|R|None|{other.name}-report"
    )
    submit(plan)
    called = [line.split() for line in stubbed.called()]
    (report,) = [line for line in called if line[0] == "sbatch"]  # and no cell
    assert "--dependency=afterany:7" in report
    assert called[-1] == ["scancel", "8"]  # once there is another one


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        (None, 120),
        ("24:00:00", 120),
        ("4", 60),
        ("4:00", 60),
        ("0:04:00", 60),
        ("1-0", 120),
        ("0-0:4", 60),
        ("soon", 120),
    ],
)
def test_a_task_is_told_before_its_limit_and_not_when_it_begins(limit, seconds):
    assert slurm.notice(limit) == seconds
