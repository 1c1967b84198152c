import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.waiting import SAID, SPINS, spin_briefly

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
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in done.stderr
