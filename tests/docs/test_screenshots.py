import re
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs import screenshots
from docs.browser import find_browser
from mosaic_pipeline.errors import PipelineError

ROOT = Path(__file__).parents[2]


def _pictures():
    return re.findall(r"!\[([^]]*)\]\(([^)]*)\)", (ROOT / "README.md").read_text(encoding="utf-8"))


def test_the_readmes_pictures_are_small_and_there_and_have_words():
    pictures = _pictures()
    names = ("report", "mlflow", "mlflow_run", "mlflow_compare")
    assert [path for _, path in pictures] == [f"docs/images/{name}.png" for name in names]
    for words, path in pictures:
        assert len(words) > 40
        assert (ROOT / path).stat().st_size < 150_000
        with Image.open(ROOT / path) as image:
            assert image.format == "PNG"
            assert image.width == screenshots.WIDTH


def test_the_first_pictures_stand_before_the_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    places = [text.index(mark) for mark in ("report.png", "mlflow.png", "    make repro ", "    make test ")]
    assert places == sorted(places)


def test_without_a_browser_one_line_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PipelineError, match=r"^chromium: not found on PATH; install it"):
        find_browser()
    program = tmp_path / "google-chrome"
    program.touch(mode=0o755)
    assert find_browser() == str(program)


def test_the_view_is_put_into_a_copy_and_the_database_is_left_alone(tmp_path):
    database, copy = tmp_path / "mlflow.db", tmp_path / "copy.db"
    with closing(sqlite3.connect(database)) as made:
        made.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT)")
        made.execute("CREATE TABLE experiment_tags (key TEXT, value TEXT, experiment_id INTEGER)")
        made.execute("INSERT INTO experiments VALUES (7, 'mosaic')")
        made.commit()
    before = database.read_bytes()
    assert screenshots.copy_with_view(database, copy, "mosaic") == 7
    assert database.read_bytes() == before
    with closing(sqlite3.connect(copy)) as made:
        ((key, value, number),) = made.execute("SELECT * FROM experiment_tags")
    assert (key, number) == ("mlflow.sharedViewState.readme", 7)
    assert "metrics.`test/mean_acc`" in value
    with pytest.raises(PipelineError, match="no experiment other; `dvc repro` makes it"):
        screenshots.copy_with_view(database, tmp_path / "more.db", "other")


def test_the_training_that_is_shown_is_the_latest_one_that_was_tested(tmp_path):
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as made:
        made.execute("CREATE TABLE runs (run_uuid TEXT, name TEXT, lifecycle_stage TEXT, start_time INTEGER)")
        made.execute("CREATE TABLE tags (run_uuid TEXT, key TEXT, value TEXT)")
        made.execute("CREATE TABLE latest_metrics (run_uuid TEXT, key TEXT)")
        for start, (stage, lifecycle, tested) in enumerate(
            (
                ("train", "active", True),
                ("train", "active", True),
                ("train", "active", False),
                ("train", "deleted", True),
                ("tune", "active", True),
            )
        ):
            made.execute("INSERT INTO runs VALUES (?, 'mosaic-42', ?, ?)", (f"run {start}", lifecycle, start))
            made.execute("INSERT INTO tags VALUES (?, 'stage', ?)", (f"run {start}", stage))
            if tested:
                made.execute("INSERT INTO latest_metrics VALUES (?, 'test/mean_acc')", (f"run {start}",))
        made.commit()
    assert screenshots.find_training(database, "mosaic-42") == "run 1"
    with pytest.raises(PipelineError, match="no training shared-42 with its test; `dvc repro` makes both"):
        screenshots.find_training(database, "shared-42")


def test_a_picture_shrinks_and_keeps_its_size(tmp_path):
    path = tmp_path / "picture.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    before = path.stat().st_size
    screenshots.shrink(path)
    with Image.open(path) as image:
        assert (image.size, image.mode) == ((96, 64), "P")
    assert path.stat().st_size < before / 2
