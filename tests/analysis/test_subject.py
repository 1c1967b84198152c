import numpy as np
import pytest
import torch

from mosaic_pipeline.analysis.observe import observe
from mosaic_pipeline.analysis.subject import Cases
from mosaic_pipeline.data.batches import Split, consecutive
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.evaluation.predict import predict

CPU = torch.device("cpu")


def test_the_cases_are_at_most_so_many_and_hold_every_class(cached):
    labels = np.array([0] * 7 + [1] + [2] * 2)[:, None]
    np.save(cached / "retinamnist/val_labels.npy", labels)
    cases = Cases.choose(Split(cached / "retinamnist", "val", CPU), 4)
    assert len(cases) == 4
    assert set(cases.labels[:, 0].tolist()) == {0, 1, 2}


def test_the_cases_are_images_of_the_split_with_the_labels_that_they_have_there(cached):
    split = Split(cached / "retinamnist", "val", CPU)
    cases = Cases.choose(split, 6)
    batches = list(cases.batches(consecutive(slice(0, 6), 4)))
    assert torch.equal(torch.cat([batch.labels for batch in batches]), cases.labels)
    stored = {image.tobytes(): label for image, label in zip(split.images, split.labels.tolist(), strict=True)}
    for batch in batches:
        for image, label in zip(batch.images, batch.labels.tolist(), strict=True):
            assert stored[image.numpy().tobytes()] == label


def test_a_limit_beyond_the_split_takes_all_of_it(cached):
    assert len(Cases.choose(Split(cached / "chestmnist", "val", CPU), 99)) == 10


@pytest.mark.parametrize("kind", ["bottleneck", "lora", "prompt", "none"])
@pytest.mark.parametrize("routing", ["specialists", "shared", "gated"])
@pytest.mark.parametrize("name", ["retinamnist", "nodulemnist3d"])
def test_a_model_that_is_looked_at_computes_what_it_computes_anyway(make_subject, kind, routing, name):
    subject = make_subject(adapter__kind=kind, adapter__routing=routing, batch_size=10)
    *_, seen = observe(subject, name)
    images, *_ = subject.batches(name)
    with torch.inference_mode():
        x = subject.model.embed(images, name)
        blocks, adapters = subject.model.backbone.blocks, subject.model.adapters(name)
        for block, adapter in zip(blocks, adapters, strict=True):
            u = block.norm1(x)
            x = subject.model.run_block(block, adapter, block is blocks[-1], x)
    assert seen.layer == len(blocks) - 1
    assert torch.equal(seen.u, u)
    assert seen.h.shape == (10, 1, 24)
    assert (seen.branch is not None) == (kind == "bottleneck")
    assert (seen.query_value is not None) == (kind == "lora")


@pytest.mark.parametrize("name", ["retinamnist", "nodulemnist3d"])
def test_the_subject_sees_images_as_the_test_does(make_subject, name):
    subject = make_subject(model__normalisation="clip")
    model = subject.model
    expected = predict(model, subject.cases[name], MEDMNIST[name], config=subject.config, batch_size=10)
    with torch.inference_mode():
        logits = torch.cat([model(images, name)[1] for images in subject.batches(name)])
    np.testing.assert_allclose(logits.softmax(dim=1).numpy(), expected, atol=1e-6)
