"""The journal of a run: what was handed over is there after a kill, once, whatever became of the last line."""

import math
import os
from pathlib import Path

import pytest

from mosaic_pipeline.tracking import journal as journal_module
from mosaic_pipeline.tracking.journal import FOLDER, Journal, all_journals, runs_of, set_aside
from mosaic_pipeline.tracking.operations import (
    KINDS,
    Artifact,
    Begin,
    DatasetInput,
    Description,
    End,
    ExperimentLink,
    MeansOfTests,
    Model,
    Params,
    Points,
    Remember,
    Tags,
    Text,
    Trainings,
    decode,
    encode,
)

OPERATIONS = [
    Begin("a" * 32, "mosaic-42", 1, {"user": "ada"}, None),
    Remember("local-1"),
    Params({"lr": "0.1"}),
    Tags({"stage": "train"}),
    Points([["loss", 0.1, 2, 1, None, None], ["acc", 0.5, 2, None, "pathmnist", "d" * 32]]),
    Description("Data", "two\nlines"),
    ExperimentLink("Report", "index.html"),
    MeansOfTests("a" * 32, {"test/mean_acc": 0.5, "test/mean_auc": None}, "ACC", 3),
    DatasetInput("pathmnist", "here", "d" * 32, "training"),
    Model("mosaic-42", "a" * 32),
    Artifact("/reports/index.html", None, "1/index.html"),
    Text("é\r\n", "configs/mosaic.yaml"),
    Trainings([["mosaic", 42, None]]),
    End("FINISHED", 4, None),
]


def begun(tmp_path):
    journal = Journal.create(tmp_path, "http://server", "mosaic", "mosaic-42")
    journal.append(OPERATIONS[0])
    return journal


def taken(tmp_path):
    """What another process finds once the one that wrote is gone."""
    (folder,) = all_journals(tmp_path)
    return Journal.take(folder, lambda header: True)


def operations(journal):
    return [entry.operation for entry in journal.pending]


def test_every_kind_of_operation_is_the_same_after_the_journal():
    assert {type(each).__name__ for each in OPERATIONS} == set(KINDS)
    for operation in OPERATIONS:
        assert "\n" not in encode(operation)
        assert decode(encode(operation)) == operation
    (point,) = decode(encode(Points([["loss", math.nan, 1, 1, None, None]]))).points
    assert math.isnan(point[1])


def test_what_a_killed_process_handed_over_is_there_with_the_end_that_it_could_not_give(tmp_path):
    journal = begun(tmp_path)
    for operation in OPERATIONS[1:-1]:
        assert journal.append(operation) is None
    journal.lock.release()  # as the system does for the killed one
    left = taken(tmp_path)
    assert left.header == journal.header
    assert operations(left)[:-1] == OPERATIONS[:-1]
    end = operations(left)[-1]
    assert (end.status, end.failure) == ("FAILED", "killed")


def test_a_journal_with_an_end_keeps_it(tmp_path):
    journal = begun(tmp_path)
    journal.append(OPERATIONS[-1])
    journal.lock.release()
    assert operations(taken(tmp_path)) == [OPERATIONS[0], OPERATIONS[-1]]


def test_what_was_sent_is_not_found_again_and_the_run_is_known(tmp_path):
    journal = begun(tmp_path)
    journal.append(OPERATIONS[3])
    journal.append(OPERATIONS[4])
    journal.state.run_id = "a" * 32
    journal.sent(2)
    journal.lock.release()
    with open(journal.folder / "sent.jsonl", "ab") as file:
        file.write(b'{"end": 99')  # killed while it noted the next
    left = taken(tmp_path)
    assert operations(left)[:-1] == [OPERATIONS[4]]
    assert left.state.run_id == "a" * 32
    assert left.points == 2


def test_a_line_that_was_half_written_costs_that_line_alone(tmp_path):
    journal = begun(tmp_path)
    file = journal.folder / "journal.jsonl"
    journal.append(OPERATIONS[4])
    file.write_bytes(file.read_bytes()[:-20] + b"\n")
    journal.append(OPERATIONS[3])
    journal.append(OPERATIONS[4])
    file.write_bytes(file.read_bytes()[:-20])  # the last one, as a kill leaves it
    journal.lock.release()
    left = taken(tmp_path)
    assert operations(left)[:-1] == [OPERATIONS[0], None, OPERATIONS[3], None]
    assert left.damaged == 2


def test_a_full_disk_keeps_nothing_from_being_sent_and_damages_nothing_before_and_after(tmp_path, monkeypatch):
    journal, write = begun(tmp_path), journal_module._write

    def half(place, text):
        write(place, text[: len(text) // 2])
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "_write", half)
        assert "No space left" in str(journal.append(OPERATIONS[3]))
    assert journal.append(OPERATIONS[4]) is None
    assert operations(journal) == [OPERATIONS[0], OPERATIONS[3], OPERATIONS[4]]
    journal.sent(1)
    journal.lock.release()
    assert operations(taken(tmp_path))[:-1] == [None, OPERATIONS[4]]


def test_a_journal_belongs_to_one_process_at_a_time(tmp_path):
    journal = begun(tmp_path)
    assert taken(tmp_path) is None
    journal.release()
    left = taken(tmp_path)
    assert left
    assert taken(tmp_path) is None


def test_a_journal_that_is_not_wanted_is_left_to_others(tmp_path):
    begun(tmp_path).release()
    (folder,) = all_journals(tmp_path)
    assert Journal.take(folder, lambda header: header.store == "http://another") is None
    assert taken(tmp_path)


def test_what_is_done_leaves_nothing(tmp_path):
    journal = begun(tmp_path)
    (tmp_path / "report.html").write_text("<html>")
    assert journal.keep(tmp_path / "report.html")
    journal.remove()
    assert list((tmp_path / FOLDER / "journals").iterdir()) == []


def test_a_process_that_was_killed_before_it_said_anything_leaves_nothing(tmp_path):
    Journal.create(tmp_path, "http://server", "mosaic", "mosaic-42").release()
    assert taken(tmp_path) is None
    assert list((tmp_path / FOLDER / "journals").iterdir()) == []


def test_a_journal_of_which_nobody_knows_whose_it_is_is_refused_and_can_be_set_aside(tmp_path):
    journal = begun(tmp_path)
    (journal.folder / "header.json").write_text("{")
    journal.release()
    with pytest.raises(ValueError, match="is no journal"):
        taken(tmp_path)
    place = set_aside(journal.folder, tmp_path)
    assert (place / "journal.jsonl").exists()
    assert all_journals(tmp_path) == []


def test_an_artifact_is_copied_unless_it_is_large_or_not_there(tmp_path, monkeypatch):
    journal = begun(tmp_path)
    file = tmp_path / "report.html"
    file.write_text("<html>")
    kept = journal.keep(file)
    file.unlink()
    assert (journal.folder / "artifacts" / kept).read_text() == "<html>"
    assert journal.keep(file) is None
    monkeypatch.setattr(journal_module, "LARGEST_COPY", 3)
    file.write_text("<html>")
    assert journal.keep(file) is None


def test_a_run_is_known_by_each_of_its_ids(tmp_path):
    journal = begun(tmp_path)
    assert runs_of(journal.folder) == {journal.header.session, "a" * 32}
    journal.state.run_id = "b" * 32
    journal.sent(1)
    assert runs_of(journal.folder) == {journal.header.session, "a" * 32, "b" * 32}


@pytest.mark.parametrize(
    "line",
    [
        "5",
        "[]",
        "{}",
        '{"do": []}',
        '{"do": "Remember", "handed_out": null}',
        '{"do": "Points", "points": [1]}',
        '{"do": "Tags", "values": {"key": 1}}',
        '{"do": "End", "status": "FINISHED", "milliseconds": true, "failure": null}',
    ],
)
def test_a_line_that_is_no_operation_is_damaged_and_holds_up_no_other(tmp_path, line):
    journal = begun(tmp_path)
    with open(journal.folder / "journal.jsonl", "a") as file:
        file.write(line + "\n")
    journal.append(OPERATIONS[-1])
    journal.release()
    left = taken(tmp_path)
    assert operations(left) == [OPERATIONS[0], None, OPERATIONS[-1]]
    assert left.damaged == 1


@pytest.mark.parametrize("line", ['{"end": null}', '{"end": -1}', '{"run_id": 5}', "5", "{"])
def test_a_state_that_makes_no_sense_is_passed_over(tmp_path, line):
    journal = begun(tmp_path)
    journal.state.run_id = "b" * 32
    journal.sent(1)
    with open(journal.folder / "sent.jsonl", "a") as file:
        file.write(line + "\n")
    journal.release()
    assert taken(tmp_path).state == journal.state


def test_who_may_lock_a_journal_is_for_the_umask_to_say(tmp_path):
    before = os.umask(0o002)
    try:
        journal = begun(tmp_path)
    finally:
        os.umask(before)
    assert Path(f"{journal.folder}.lock").stat().st_mode & 0o777 == 0o664
