"""Graphs answer as torch does, for every kind of adapter, every routing and every kind of input."""

import json
import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from mosaic_pipeline.data.augment import normalise, to_float
from mosaic_pipeline.export.to_onnx import METADATA, export_graphs
from mosaic_pipeline.model import linear

IMAGES = ("retinamnist", "tissuemnist", "breastmnist", "chestmnist", "nodulemnist3d", "vesselmnist3d")
VOLUMES = IMAGES[::-1]
LEARNED = {"adapter__kind": "prompt", "adapter__prompt_strength": 0.5}
SLICES = {"tokenizer_3d__kind": "slices", "tokenizer_3d__slices": 4}
BY_IMAGE = {"adapter__gate": "image"}
RELEASED = {"model__normalisation": "imagenet", "model__embedding_norm": True, "adapter__layer_norm": True}

# The datasets, of which the first one's graph is made, the size of its stored images, kind and routing, and the rest.
CASES = {
    "colour as released, resized to more": (IMAGES, 28, "bottleneck", "random", RELEASED),
    "grey and of several labels, resized to less": (("breastmnist", "chestmnist"), 40, "lora", "modality", {}),
    "volumes, resized to less": (VOLUMES, 28, "bottleneck", "specialists", {}),
    "a tokenizer of its own, resized to more": (VOLUMES, 12, "prompt", "per_dataset", {}),
    "prompts with a learned strength": (IMAGES, 32, "prompt", "shared", LEARNED),
    "slices without a specialist": (VOLUMES, 40, "none", "specialists", SLICES),
    "mixed bottlenecks": (IMAGES, 28, "bottleneck", "gated", {"compute__precision": "bf16"}),
    "mixed LoRAs of volumes, from the routing": (VOLUMES, 28, "lora", "gated", {"adapter__gate_start": "routing"}),
    "mixed prompts of slices, by the image": (VOLUMES, 28, "prompt", "gated", SLICES | LEARNED | BY_IMAGE),
}


def stirred(model):
    """Give every trained tensor values that do something."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if model.is_trainable(name):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@torch.inference_mode()
def by_torch(model, config, dataset, images: np.ndarray) -> np.ndarray:
    """The probabilities of one dataset, as the evaluate stage makes them."""
    pixels = to_float(torch.from_numpy(images), dataset.dimension, config.model.size(dataset.dimension))
    logits = model(normalise(pixels, model.statistics), dataset.name)[1]
    return (logits.sigmoid() if dataset.multi_label else logits.softmax(dim=1)).numpy()


@pytest.mark.parametrize("case", CASES)
def test_a_graph_answers_for_all_its_datasets_as_torch_does_in_batches_of_any_size(
    make_model, make_config, monkeypatch, tmp_path, caplog, case
):
    datasets, size, kind, routing, rest = CASES[case]
    settings = {"adapter__kind": kind, "adapter__routing": routing} | rest
    # On every processor as on those where torch computes linear layers as convolutions.
    monkeypatch.setattr(linear, "IN_MKL", False)
    model = stirred(make_model(datasets, **settings))
    config = make_config(datasets, **settings).for_seed(0)
    exported = next(export_graphs(model, config, dict.fromkeys(datasets, size), tmp_path, {}))
    assert exported.difference <= 1e-5
    model.float()  # of those in bf16, whose frozen matrices the graph has in fp32 too
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    graph = onnx.load(tmp_path / exported.file)
    session = onnxruntime.InferenceSession(tmp_path / exported.file, providers=["CPUExecutionProvider"])
    said = json.loads(next(each.value for each in graph.metadata_props if each.key == METADATA))

    assert said == exported.description
    heads = [output.name for output in session.get_outputs()]
    assert heads == list(said["outputs"])
    assert set(heads) == expected_heads(model, datasets[0])
    (given,) = session.get_inputs()
    assert (given.name, given.type) == ("pixels", "tensor(uint8)")
    assert given.shape == said["input"]["shape"] == ["batch", *given.shape[1:]]
    assert [each.version for each in graph.opset_import if not each.domain] == [18]
    assert [node.op_type for node in graph.graph.node].count("Conv") == 1  # the patches

    for count in (1, 7):
        pixels = np.random.default_rng(count + 100).integers(0, 256, (count, *given.shape[1:]), dtype=np.uint8)
        for name, found in zip(heads, session.run(None, {"pixels": pixels}), strict=True):
            dataset = model.datasets[name]
            images = pixels
            if pixels.ndim == 4 and dataset.dimension == 2 and dataset.channels == 1:
                images = pixels[..., 0]
                (found,) = session.run([name], {"pixels": np.repeat(images[..., None], 3, axis=-1)})
            expected = by_torch(model, config, dataset, images)
            assert found.shape == (count, dataset.num_classes)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
            # The images matter, so that agreeing says something.
            assert count == 1 or expected.std(axis=0).max() > 1e-3


def expected_heads(model, first: str) -> set[str]:
    """The datasets that `first` shares specialist, tokenizer and kind of input with; gates may leave no specialist."""
    routing = model.routing

    def shared(name: str) -> tuple:
        alike = routing.gate and routing.gate_start == "uniform"
        return routing.tokenizers.get(name), None if alike else routing.datasets[name]

    same_kind = [name for name in model.datasets if model.datasets[name].dimension == model.datasets[first].dimension]
    return {name for name in same_kind if shared(name) == shared(first)}
