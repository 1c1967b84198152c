"""Training that is killed within a phase or between two, as a user meets it: it ends with the same files."""

import os
import shutil
import signal

import pytest
from interrupted import Training

from mosaic_pipeline.layout import segmentation_run
from mosaic_pipeline.segmentation.training.outputs import FILES
from mosaic_pipeline.training.checkpoint import Checkpoints
from stages.segmentation import configure
from tests.segmentation.workplace import ROOT, SEED, run, write_params

# After how many checkpoints a training is killed, where it stands then (rounds done when each phase began, rounds done,
# whether a round has begun), and what the next one says. There is one at the start and, of two sets, two a round.
KILLS = {
    "within the experts' rounds": (4, ([0], 1, True), "continuing in round 2, "),
    "between experts and gate": (1, ([0], 2, False), "continuing in round 3, "),
    "within the gate's rounds": (3, ([0, 2], 3, True), "continuing in round 4, "),
}


@pytest.fixture
def training(workplace):
    """The training of m4oe: two rounds of the experts, two with the gate, of which the first is best by that much."""
    write_params(train__expert_rounds=2, train__gate_rounds=2, train__min_delta=0.9)
    run(configure, "m4oe")
    results = workplace / segmentation_run("m4oe", SEED)
    shutil.rmtree(results)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'pipeline'}", "PYTHONUNBUFFERED": "1"}
    return Training(workplace, environment, ("stages.segmentation.train", "m4oe", str(SEED)), results, FILES)


def stands_at(training):
    """Where the newest checkpoint has a training."""
    (folder,) = {file.parent for file in training.checkpoints()}
    _, values = Checkpoints(folder).load()
    return values["phases_from"], values["round"], values["position"] > 0


def test_a_training_killed_within_each_phase_and_between_them_ends_with_the_files_of_an_uninterrupted_one(training):
    assert "continuing" not in training.finish()
    whole = training.digests()
    shutil.rmtree(training.results)
    continues = ""
    for moment, (checkpoints, stands, then) in KILLS.items():
        code, printed = training.kill(checkpoints)
        assert code == -signal.SIGKILL, printed
        assert continues in printed, moment
        assert stands_at(training) == stands, moment
        continues = then
    assert not list(training.results.iterdir())
    assert continues in training.finish()
    assert training.digests() == whole
    assert not training.checkpoints()
