"""What a training writes is all that using its model takes."""

import pytest
import torch

from pipeline.lineage import Lineage
from pipeline.segmentation.deployed import load_model
from pipeline.segmentation.training.outputs import write_outputs
from pipeline.training.model_file import MODEL


@pytest.mark.parametrize(
    ("experts", "train"), [({"mix": "gated"}, {"expert_rounds": 0, "gate_rounds": 1}), ({"added": 1}, {})]
)
def test_a_model_as_written_predicts_as_it_did(make_trainer, tmp_path, experts, train):
    trainer = make_trainer(experts=experts, train=train)
    trainer.run()
    write_outputs(tmp_path, trainer, "m4oe", 3, {}, Lineage({"config": "c"}, {}, {}, {}))
    found = load_model(tmp_path / MODEL, torch.device("cpu"))
    images = torch.rand(1, 16, 16)
    trainer.student.eval()
    assert torch.equal(found.model(images, "atlas23"), trainer.student(images, "atlas23"))
    assert found.intensities["atlas23"].window == (-1, 1)
    assert found.datasets == trainer.config.datasets
