import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from mosaic_pipeline.errors import PipelineError
from mosaic_pipeline.layout import maker
from mosaic_pipeline.reading import read_record, read_table, read_tree, reading


class Counted(BaseModel):
    n: int
    share: float = 0.5


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("data/cached/test/pathmnist/meta.json", "dvc repro cache"),
        ("weights/backbone.safetensors", "dvc repro weights"),
        ("runs/mosaic/42/train.json", "dvc repro train"),
        ("/elsewhere/runs/mosaic/42/train.json", "dvc repro"),
    ],
)
def test_the_way_out_is_the_stage_that_writes_the_file(path, command):
    assert maker(Path(path)) == command


@pytest.mark.parametrize("error", [ValueError("odd\nlines"), KeyError("key"), ZeroDivisionError(), OSError(40, "loop")])
def test_whatever_reading_raises_is_one_line_that_names_the_file(error):
    with pytest.raises(PipelineError, match=r"^runs/x: [^\n]+; `dvc repro train` mends that$"), reading(Path("runs/x")):
        raise error


def test_a_lack_of_memory_is_not_the_files_fault():
    with pytest.raises(MemoryError), reading(Path("runs/x")):
        raise MemoryError


@pytest.mark.parametrize(
    "text",
    [
        '{"n": NaN}',
        '{"n": 1e999}',
        '{"n": "1"}',
        '{"n": true}',
        '{"n": 1.0}',
        '{"n": null}',
        "{}",
        "[]",
        "1",
        "",
        "{",
        '{"n": 1, "share": 1e999}',
        '{"n": 1, "share": -Infinity}',
        '{"n": 1, "more": NaN}',
        "[" * 10**5,
    ],
)
def test_json_has_exact_types_and_finite_numbers(tmp_path, text):
    path = tmp_path / "file.json"
    path.write_text(text)
    for read in (read_record, read_tree):
        with pytest.raises(PipelineError, match=r"^[^\n]*file\.json: [^\n]+; [^\n]*$"):
            read(path, Counted)


def test_a_tree_is_returned_as_it_stands(tmp_path):
    tree = {"z": [1, {"a": None}], "n": 3, "share": 1}
    (tmp_path / "file.json").write_text(json.dumps(tree))
    assert list(read_tree(tmp_path / "file.json", Counted).items()) == list(tree.items())
    assert read_record(tmp_path / "file.json", Counted) == Counted(n=3, share=1.0)


def test_rows_of_a_table_come_by_line(tmp_path):
    (tmp_path / "file.csv").write_text('a,b\n1,"two\nlines"\n\n3,\n')
    assert read_table(tmp_path / "file.csv", ["b"]) == {3: {"a": "1", "b": "two\nlines"}, 5: {"a": "3", "b": ""}}


@pytest.mark.parametrize("text", ["", "a\n1\n", "a,b,b\n1,2,3\n", "a,b\n1\n", "a;b\n1;2\n", "a,b\n1,2"])
def test_a_table_is_whole_and_has_its_columns_once(tmp_path, text):
    (tmp_path / "file.csv").write_text(text)
    with pytest.raises(PipelineError, match=r"file\.csv: "):
        read_table(tmp_path / "file.csv", ["a", "b"])


def test_a_users_table_may_come_from_a_spreadsheet(tmp_path):
    (tmp_path / "file.csv").write_bytes("\ufeffa,b\r\n1,2".encode())
    assert read_table(tmp_path / "file.csv", ["a", "b"], mend="correct it") == {2: {"a": "1", "b": "2"}}
    with pytest.raises(PipelineError, match=r"no column c among a, b; correct it$"):
        read_table(tmp_path / "file.csv", ["a", "c"], mend="correct it")
