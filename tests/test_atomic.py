import pytest

from pipeline.atomic import atomic, write_text, write_texts


def test_a_failure_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path):
    target = tmp_path / "file.txt"
    write_text(target, "old")

    def interrupted() -> None:
        with atomic(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_final_name_appears_only_when_the_block_is_done(tmp_path):
    target = tmp_path / "new" / "file.txt"
    with atomic(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert target.stat().st_mode == ordinary.stat().st_mode


def test_of_several_texts_none_takes_its_name_before_all_are_written(tmp_path):
    write_texts(tmp_path, {"a.txt": "old", "below/b.txt": "old"})
    with pytest.raises(TypeError):
        write_texts(tmp_path, {"a.txt": "new", "below/b.txt": None})
    found = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"a.txt": "old", "below/b.txt": "old"}
