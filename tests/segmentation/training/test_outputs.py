"""What a training writes is all that using its model takes, and all that the report has to know of it."""

import numpy as np
import pytest
import torch

from mosaic_pipeline.lineage import Lineage
from mosaic_pipeline.segmentation.deployed import load_model
from mosaic_pipeline.segmentation.reporting.files import read_history, read_training
from mosaic_pipeline.segmentation.training.outputs import write_outputs
from mosaic_pipeline.training.model_file import MODEL

LINEAGE = Lineage({"config": "c"}, {}, {"source": "random"}, {})


@pytest.mark.parametrize(
    ("experts", "train"), [({"mix": "gated"}, {"expert_rounds": 0, "gate_rounds": 1}), ({"added": 1}, {})]
)
def test_a_model_as_written_predicts_as_it_did(make_trainer, tmp_path, experts, train):
    trainer = make_trainer(experts=experts, train=train)
    trainer.run()
    write_outputs(tmp_path, trainer, "m4oe", 3, LINEAGE)
    found = load_model(tmp_path / MODEL, torch.device("cpu"))
    images = torch.rand(1, 16, 16)
    trainer.student.eval()
    assert torch.equal(found.model(images, "atlas23"), trainer.student(images, "atlas23"))
    assert found.intensities["atlas23"].window == (-1, 1)
    assert found.datasets == trainer.config.datasets


def test_the_report_can_read_what_a_training_says_of_itself(make_trainer, tmp_path):
    trainer = make_trainer("flare22", "atlas23", "amos22_mr", experts={"added": 1})
    trainer.run()
    write_outputs(tmp_path, trainer, "new_modality", 3, LINEAGE)
    training = read_training(tmp_path / "train.json", "new_modality", 3, None)
    assert training.phases == {"experts": 0, "adapt": 1}
    trainer.student.enter("experts")
    active = sum(parameter.numel() for _, parameter in trainer.student.active_parameters("flare22"))
    assert training.parameters.active == {"experts": active}
    assert training.parameters.macs["experts"] > active
    history = read_history(tmp_path / "history.csv", training.rounds)
    assert np.isnan(history["amos22_mr/score"]).tolist() == [True, False]
    assert not np.isnan(history["flare22/score"] + history["score"]).any()


def test_the_report_reads_from_it_by_what_it_was_trained(make_trainer, tmp_path):
    trainer = make_trainer(experts={"mix": "gated"}, train={"expert_rounds": 1, "gate_rounds": 1})
    trainer.run()
    write_outputs(tmp_path, trainer, "m4oe", 3, LINEAGE)
    found = read_training(tmp_path / "train.json", "m4oe", 3, None)
    assert found.config == trainer.config
    assert list(found.config.datasets) == ["flare22", "atlas23"]  # in order of heads
