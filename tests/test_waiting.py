import os
import subprocess
import sys
from pathlib import Path

import pytest

from mosaic_pipeline import waiting
from mosaic_pipeline.waiting import SAID, SPINS_BUSY, SPINS_QUIET, others_compute, spin_briefly

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("said", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}])
def test_what_the_user_says_idle_threads_do_is_left_alone(monkeypatch, said):
    for name in SAID:
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    spin_briefly()
    assert {name: os.environ[name] for name in SAID if name in os.environ} == said


def test_a_stage_says_it_before_torch_can_be_imported():
    # OMP_DISPLAY_ENV makes libgomp print what it goes by when it is loaded.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    }
    script = "import sys, runpy; sys.argv = ['-m']; import stages; import torch"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"GOMP_SPINCOUNT = '{SPINS_QUIET}'" in done.stderr or f"GOMP_SPINCOUNT = '{SPINS_BUSY}'" in done.stderr


@pytest.mark.parametrize(("busy", "spins"), [(True, SPINS_BUSY), (False, SPINS_QUIET)])
def test_idle_threads_sleep_sooner_where_others_compute(monkeypatch, busy, spins):
    for name in SAID:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(waiting, "others_compute", lambda: busy)
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # so that it is taken back
    monkeypatch.delenv("GOMP_SPINCOUNT")
    spin_briefly()
    assert os.environ.pop("GOMP_SPINCOUNT") == str(spins)


@pytest.mark.parametrize(
    ("told", "busy"),
    [
        (["1/300", "1/300", "1/300"], False),
        (["3/300", "1/300", "4/300"], False),  # somebody who was there for a moment
        (["3/300", "2/300", "4/300"], True),
        (["nonsense"] * 3, False),
    ],
)
def test_others_compute_if_they_always_want_a_core(tmp_path, monkeypatch, told, busy):
    readings = iter(told)

    def load(path: str, **_: str) -> object:
        file = tmp_path / "loadavg"
        file.write_text(f"0.20 0.07 0.02 {next(readings)} 1234\n")
        return file.open()

    monkeypatch.setattr("builtins.open", load)
    assert others_compute() is busy
