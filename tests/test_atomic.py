import errno
import os
import resource

import pytest

from mosaic_pipeline.atomic import atomic, try_places, write_text, write_texts


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


@pytest.fixture
def limit():
    """Limit the size of files of this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_places_are_tried_without_a_trace_but_their_folders(tmp_path):
    old = tmp_path / "a/old.json"
    write_text(old, "old")
    try_places(old, tmp_path / "a/new.json", tmp_path / "b/c/model.bin", size=10_000_000)
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*"))
    assert left == ["a", "a/old.json", "b", "b/c"]
    assert old.read_text() == "old"


def test_a_file_in_place_of_a_folder_and_a_folder_in_place_of_a_file_are_noticed(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(OSError, match="runs") as error:
        try_places(tmp_path / "runs/mosaic/model.bin")
    assert error.value.errno == errno.ENOTDIR
    with pytest.raises(FileExistsError, match="runs"):
        try_places(tmp_path / "runs/model.bin")
    (tmp_path / "train.json").mkdir()
    with pytest.raises(IsADirectoryError, match=r"train\.json"):
        try_places(tmp_path / "train.json")


def test_a_limit_of_the_size_of_files_is_noticed_by_the_size_to_come(tmp_path, limit):
    limit(100_000)
    try_places(tmp_path / "small", size=100_000)
    with pytest.raises(OSError, match=str(tmp_path)) as error:
        try_places(tmp_path / "large", size=100_001)
    limit(resource.RLIM_INFINITY)
    assert (error.value.errno, list(tmp_path.iterdir())) == (errno.EFBIG, [])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_place_that_takes_nothing_is_named(tmp_path, monkeypatch, number):
    def refuse(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with pytest.raises(OSError, match=f"{os.strerror(number)}: '{tmp_path}'") as error:
        try_places(tmp_path / "file")
    assert error.value.errno == number


def test_a_file_system_that_cannot_take_space_beforehand_is_no_error(tmp_path, monkeypatch):
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    try_places(tmp_path / "file")
