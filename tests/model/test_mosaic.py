import pytest
import torch

from mosaic_pipeline.config import resolve
from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.model.backbone import build_backbone
from mosaic_pipeline.model.mosaic import build_mosaic
from mosaic_pipeline.params import Params


def batch_of(name: str, count: int = 3) -> torch.Tensor:
    shape = (count, 3, 32, 32) if MEDMNIST[name].dimension == 2 else (count, 1, 16, 16, 16)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["retinamnist", "breastmnist"])
@pytest.mark.parametrize("variant", ["mosaic", "shared", "linear_probe"])
def test_an_untrained_model_equals_the_plain_vit(make_model, make_backbone, name, variant):
    model, vit, images = make_model(variant=variant), make_backbone(), batch_of(name)
    feature, logits = model(images, name)
    # To rounding: the last block computes its class token alone, and products run in another library.
    torch.testing.assert_close(feature, vit(images))
    torch.testing.assert_close(logits, model.heads[name](vit(images)))


def test_an_untrained_model_on_volumes_equals_the_vit_blocks_on_the_same_tokens(make_model, make_backbone):
    model, vit, volumes = make_model(), make_backbone(), batch_of("nodulemnist3d")
    tokenizer = model.tokenizers_3d["shared"]
    patches = tokenizer.projection(volumes).flatten(2).transpose(1, 2)
    tokens = torch.cat([vit.cls_token.expand(3, -1, -1), patches], dim=1) + tokenizer.positions
    assert tokens.shape == (3, 1 + 2**3, 24)
    torch.testing.assert_close(model(volumes, "nodulemnist3d")[0], vit.norm(vit.blocks(tokens))[:, 0])


def test_a_specialist_adds_its_scaled_bottleneck_on_the_normalised_tokens_beside_the_mlp(make_model, make_backbone):
    model, vit, images = make_model(), make_backbone(), batch_of("retinamnist")
    for parameter in model.specialists["A"].parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    x = torch.cat([vit.cls_token.expand(3, -1, -1), vit.patch_embed(images)], dim=1) + vit.pos_embed
    for block, bottleneck in zip(vit.blocks, model.specialists["A"], strict=True):
        x = x + block.attn(block.norm1(x))
        h = block.norm2(x)
        down = torch.relu(h @ bottleneck.down.weight.T + bottleneck.down.bias)
        x = x + block.mlp(h) + 0.1 * (down @ bottleneck.up.weight.T + bottleneck.up.bias)
    torch.testing.assert_close(model(images, "retinamnist")[0], vit.norm(x)[:, 0])
    # Another specialist's datasets do not see it.
    torch.testing.assert_close(model(images, "breastmnist")[0], vit(images))


def test_vit_base_with_18_heads_has_the_published_parameter_count(params):
    tree = params.model_dump()
    tree["model"] |= {"backbone": "vit_base_patch16_224", "image_size": 224, "volume_size": 64}
    config = resolve(Params.model_validate(tree), "mosaic")
    backbone = build_backbone(config.model.backbone, config.model.patch_size, config.model.image_size)
    assert build_mosaic(config, backbone, seed=42).parameter_counts() == {
        "specialists": {"A": 1_189_632, "B": 1_779_840, "C": 3_550_464},
        "gates": 0,
        "tokenizer_3d": 393_984,
        "positions_3d": 393_984,
        "heads": 87_666,
        "embedding_norms": 0,
        "backbone": 85_798_656,
        "trainable": 7_395_570,
        "total": 93_194_226,
    }


def test_what_is_trained_is_what_is_saved_and_none_of_it_is_the_backbone(make_model):
    model = make_model()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == set(model.trainable_state())
    assert trained == {name for name, _ in model.named_parameters() if not name.startswith("backbone.")}
    assert all(model.is_trainable(name) for name in trained)


def test_each_dataset_activates_its_specialist_its_head_and_in_3d_the_tokenizer(make_model):
    model = make_model()
    parts = {name: {".".join(key.split(".")[:2]) for key, _ in model.active_parameters(name)} for name in model.heads}
    assert parts["retinamnist"] == {"specialists.A", "heads.retinamnist"}
    assert parts["breastmnist"] == {"specialists.B", "heads.breastmnist"}
    assert parts["nodulemnist3d"] == {
        "specialists.C",
        "heads.nodulemnist3d",
        "tokenizers_3d.shared",
    }


def test_a_components_initial_values_do_not_depend_on_which_others_exist(make_model):
    alone, together = make_model(("retinamnist",)).trainable_state(), make_model().trainable_state()
    assert alone.keys() < together.keys()
    assert all(torch.equal(tensor, together[name]) for name, tensor in alone.items())


def test_specialists_and_seeds_start_from_different_values(make_model):
    first, second = make_model(seed=0), make_model(seed=1)
    for part in ("specialists.A.0.down.weight", "heads.retinamnist.weight", "tokenizers_3d.shared.positions"):
        assert not torch.equal(first.get_parameter(part), second.get_parameter(part))
    assert not torch.equal(first.specialists["A"][0].down.weight, first.specialists["A"][1].down.weight)


def test_the_backbone_evaluates_while_the_rest_trains(make_model):
    model = make_model().train()
    assert model.specialists["A"].training
    assert not any(module.training for module in model.backbone.modules())


def test_loading_a_state_with_a_tensor_too_few_or_too_many_is_refused(make_model):
    model = make_model()
    state = model.trainable_state()
    with pytest.raises(ValueError, match=r"heads\.octmnist\.bias"):
        model.load_trainable_state(state | {"heads.octmnist.bias": torch.zeros(4)})
    state.pop("heads.retinamnist.bias")
    with pytest.raises(ValueError, match=r"heads\.retinamnist\.bias"):
        model.load_trainable_state(state)
