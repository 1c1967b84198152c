import torch

from mosaic_pipeline.model import mosaic


def test_only_batches_of_the_sizes_that_are_named_are_compiled(make_model, monkeypatch):
    compiled = []

    def compile_(function, dynamic):
        assert not dynamic
        return lambda block, adapter, last, x: compiled.append(len(x)) or function(block, adapter, last, x)

    monkeypatch.setattr(torch, "compile", compile_)
    plain, model = make_model(), make_model()
    model.compile_blocks({4, 6})
    images = torch.randn(6, 3, 32, 32)
    for count in (4, 3, 6):
        _, logits = model(images[:count], "retinamnist")
        assert torch.equal(logits, plain(images[:count], "retinamnist")[1])
    assert compiled == [4, 4, 6, 6]  # two blocks each
    assert plain.run_block is mosaic.run_block
