import pytest
import torch
from nets import FULL, labelled_set, make_config

from mosaic_pipeline.segmentation.model.build import build_m4oe
from mosaic_pipeline.segmentation.model.m4oe import M4oE

THREE = ("flare22", "atlas23", "amos22_mr")


def images(count: int = 2, size: int = 16) -> torch.Tensor:
    return torch.randn(count, size, size, generator=torch.Generator().manual_seed(1))


def names(model: M4oE, dataset: str) -> set[str]:
    return {name for name, _ in model.active_parameters(dataset)}


GATED = {"mix": "gated"}


@pytest.mark.parametrize(
    ("datasets", "experts", "total"),
    [
        (("flare22",), {"routing": "shared"}, 27_169_380),
        (THREE, {"routing": "shared"}, 27_171_204),
        (THREE, {}, 58_474_116),
        (THREE, GATED, 58_486_830),
        (THREE, GATED | {"gate": "released", "gate_start": None}, 60_432_132),
        (THREE, GATED | {"where": "encoder"}, 52_276_188),
        (THREE, GATED | {"where": "decoder"}, 33_381_846),
        (("flare22", "amos22_mr"), GATED, 42_830_848),
        ((*THREE, "word"), GATED, 74_144_060),
        # Each dataset's own network, and one whose MLPs are as wide as three experts together.
        (THREE, {"routing": "single"}, 3 * 27_168_036 + (14 + 3 + 16) * 96),
        (THREE, {"routing": "shared", "width": 12}, 58_465_668),
    ],
)
def test_full_models_have_the_published_numbers_of_parameters(datasets, experts, total):
    with torch.device("meta"):
        counts = M4oE(make_config(datasets, experts=experts, **FULL)).parameter_counts()
    assert counts.pop("total") == counts.pop("trainable") == total
    assert total == sum(counts.pop("experts").values()) + sum(counts.values())


def test_logits_are_those_of_the_datasets_own_classes():
    model = build_m4oe(make_config(), seed=0)
    for dataset, classes in {"flare22": 14, "atlas23": 3, "amos22_mr": 16}.items():
        logits = model(images(), dataset)
        assert logits.shape == (2, classes, 16, 16)
        assert logits.dtype == torch.float32


def test_one_channel_is_repeated_for_a_network_of_three():
    model = build_m4oe(make_config(channels=3), seed=0)
    seen = []
    model.trunks["shared"].patch_embed.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(images(), "flare22")
    assert torch.equal(seen[0], images()[:, None].expand(2, 3, 16, 16))


@pytest.mark.parametrize("where", ["both", "encoder", "decoder"])
def test_a_hard_step_leaves_other_experts_and_heads_alone_to_the_bit(where):
    model = build_m4oe(make_config(experts={"where": where}), seed=0)
    before = {name: tensor.clone() for name, tensor in model.trainable_state().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    for dataset in ("atlas23", "flare22", "atlas23"):
        model(images(), dataset).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    changed = {name for name, tensor in model.trainable_state().items() if not torch.equal(tensor, before[name])}
    assert changed == names(model, "atlas23") | names(model, "flare22")
    assert not any(".experts.amos22_mr." in name or name.startswith("heads.amos22_mr.") for name in changed)
    assert sum(".experts.amos22_mr." in name for name in before) == {"both": 24, "encoder": 16, "decoder": 8}[where]


PHASES = [
    ({}, {}, "experts"),
    ({"mix": "gated"}, {}, "gate"),
    ({"mix": "gated"}, {}, "experts"),
    ({"mix": "gated", "gate": "released", "gate_start": None, "where": "decoder"}, {}, "gate"),
    ({"mix": "gated", "gate_trains": "gates_heads_norms"}, {}, "gate"),
    ({"mix": "gated", "gate_trains": "gates_heads_norms"}, {}, "experts"),
    ({"routing": "single"}, {}, "experts"),
    ({"routing": "shared"}, {}, "experts"),
    ({"head": "union"}, {}, "experts"),
    ({}, {"pretrain_rounds": 1, "mask_ratio": 0.5}, "pretrain"),
    ({"routing": "single"}, {"pretrain_rounds": 1, "mask_ratio": 0.5}, "pretrain"),
    ({}, {"pretrain_rounds": 1, "mask_ratio": 0.5}, "experts"),
    ({"added": 1}, {}, "experts"),
]


@pytest.mark.parametrize(("experts", "train", "phase"), PHASES)
@pytest.mark.parametrize("dataset", ["flare22", "atlas23"])
def test_what_is_active_in_a_phase_is_what_gets_a_gradient(experts, train, phase, dataset):
    model = build_m4oe(make_config(experts=experts, train=train), seed=0)
    model.enter(phase)
    masked = torch.tensor([[[True, False], [False, True]]]).expand(2, 2, 2) if phase == "pretrain" else None
    model(images(), dataset, masked=masked).square().mean().backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == names(model, dataset)


def test_phases_train_what_they_are_for():
    config = make_config(
        experts={"mix": "gated", "gate_trains": "gates_heads_norms"}, train={"pretrain_rounds": 1, "mask_ratio": 0.5}
    )
    model = build_m4oe(config, seed=0)
    model.enter("gate")
    kinds = {name.split(".")[-3 if ".mlp." in name else -2] for name in names(model, "flare22")}
    assert kinds == {"gate", "flare22", "norm", "norm1", "norm2", "norm_up"}
    model.enter("experts")
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(name.startswith("reconstructions.") or ".gate." in name for name in names(model, "flare22"))


def test_an_expert_that_joins_trains_with_its_head_and_nothing_else_has_a_gradient():
    model = build_m4oe(make_config(experts={"added": 1}), seed=0)
    model.enter("adapt")
    model(images(), "amos22_mr").square().mean().backward()
    joining = {name for name in model.trainable_state() if ".experts.amos22_mr." in name or "heads.amos22_mr" in name}
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == joining
    assert names(model, "amos22_mr") == joining
    # A batch of those that were there before computes, and could not train anything.
    assert not model(images(), "flare22").requires_grad
    assert names(model, "flare22") == set()
    assert {name for name, _ in model.computing_parameters("flare22")} == {
        name for name in model.trainable_state() if ".experts." not in name and not name.startswith("heads.")
    } | {name for name in model.trainable_state() if ".experts.flare22." in name or name.startswith("heads.flare22.")}


def test_a_phase_that_the_model_has_nothing_for_is_refused():
    model = build_m4oe(make_config(), seed=0)
    with pytest.raises(ValueError, match="no gates"):
        model.enter("gate")
    with pytest.raises(ValueError, match="nothing to reconstruct with"):
        model.enter("pretrain")
    with pytest.raises(ValueError, match="no expert joins"):
        model.enter("adapt")
    assert model.phase == "experts"


@pytest.mark.parametrize("head", ["dataset", "union"])
def test_one_more_dataset_with_an_expert_changes_no_others_start(head):
    sets = {
        "one": labelled_set("one", ("liver", "spleen")),
        "two": labelled_set("two", ("liver", "aorta", "tumour")),
        "new": labelled_set("new", ("bladder", "liver")),
    }
    few = build_m4oe(make_config({name: sets[name] for name in ("one", "two")}, experts={"head": head}), seed=3)
    more = build_m4oe(make_config({name: sets[name] for name in ("new", "two", "one")}, experts={"head": head}), seed=3)
    of_more = more.trainable_state()
    for name, tensor in few.trainable_state().items():
        if name != "heads.union.weight":
            assert torch.equal(tensor, of_more[name]), name
    if head == "union":
        rows = [more.heads.classes.index(organ) for organ in few.heads.classes]
        assert torch.equal(few.heads.union.weight, more.heads.union.weight[rows])
        assert few.heads.union.weight.abs().max() <= 8**-0.5
    else:
        assert {name for name in of_more if name not in few.trainable_state()} == {
            "heads.new.weight",
            *(name for name in of_more if ".experts.new." in name),
        }


def test_variants_that_differ_in_gate_or_place_start_from_the_same_tensors():
    hard = build_m4oe(make_config(), seed=0).trainable_state()
    gated = build_m4oe(make_config(experts={"mix": "gated"}), seed=0).trainable_state()
    assert {name for name in gated if name not in hard} == {name for name in gated if ".gate." in name}
    assert all(torch.equal(tensor, gated[name]) for name, tensor in hard.items())


def test_a_seed_gives_the_same_model_whatever_else_was_drawn_and_another_seed_another():
    first = build_m4oe(make_config(), seed=0).trainable_state()
    torch.rand(3)
    again, other = (build_m4oe(make_config(), seed=seed).trainable_state() for seed in (0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = {name for name in first if not torch.equal(first[name], other[name])}
    assert drawn == {name for name in first if name.endswith("weight") and ".norm" not in name} | {
        name for name in first if name.endswith("relative_position_bias_table")
    }


def test_no_two_tensors_of_a_new_model_are_drawn_alike():
    model = build_m4oe(make_config(experts={"routing": "single"}), seed=0)
    firsts = [parameter.flatten()[:4].tolist() for _, parameter in model.named_parameters() if parameter.std() > 0]
    assert len({tuple(values) for values in firsts}) == len(firsts)


def test_a_new_model_has_weights_of_std_002_biases_of_zero_and_norms_of_one_but_patches_and_heads_as_convolutions():
    model = build_m4oe(make_config(dim=32, heads=(1, 2)), seed=0)
    edges = {"trunks.shared.patch_embed.proj.weight": 16, "heads.flare22.weight": 32, "heads.atlas23.weight": 32}
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert parameter.abs().max() == 0, name
        elif ".norm" in name:
            assert (parameter == 1).all(), name
        elif name in edges:
            bound = edges[name] ** -0.5
            assert 0.9 * bound < parameter.abs().max() <= bound, name
        elif name.startswith("heads."):
            continue
        elif parameter.numel() > 1000:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
            assert parameter.mean().item() == pytest.approx(0, abs=0.003), name
        else:
            assert 0 < parameter.abs().max() < 0.1, name


def test_another_expert_can_be_asked_for_and_no_gate_then_mixes():
    model = build_m4oe(make_config(experts={"mix": "gated"}), seed=0)
    hard = build_m4oe(make_config(), seed=0)
    own, mixed = hard(images(), "flare22"), model(images(), "flare22")
    assert torch.equal(model(images(), "flare22", expert="flare22"), own)
    other = model(images(), "flare22", expert="atlas23")
    assert torch.equal(other, hard(images(), "flare22", expert="atlas23"))
    assert not torch.equal(other, own)
    assert not torch.equal(mixed, own)
    # The next pass is the gates' again.
    assert torch.equal(model(images(), "flare22"), mixed)


def test_single_networks_share_nothing():
    model = build_m4oe(make_config(experts={"routing": "single"}), seed=0)
    assert names(model, "flare22").isdisjoint(names(model, "atlas23"))
    assert set.union(*(names(model, dataset) for dataset in THREE)) == set(model.trainable_state())


def test_branches_are_left_out_as_drawn_and_rows_of_a_split_batch_see_what_they_would_in_the_whole():
    model = build_m4oe(make_config(drop_path=0.5), seed=0)
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    kept = model.draw_kept(4, torch.Generator().manual_seed(0))
    assert kept.shape == (4, 12)
    # Two branches a block, none of the first one's ever left out; what stays makes up for what does not.
    shares = [1 - rate for rate in model.trunks["shared"].drop_rates]
    assert all(
        value in (0, pytest.approx(1 / s)) for row in kept.tolist() for value, s in zip(row, shares, strict=True)
    )
    assert (kept[:, :2] == 1).all()
    assert (kept == 0).any()
    whole = model(images(4), "flare22", kept=kept)
    assert (whole - model(images(4), "flare22")).abs().max() > 0.01
    split = torch.cat([model(images(4)[rows], "flare22", kept=kept[rows]) for rows in (slice(1), slice(1, 4))])
    torch.testing.assert_close(split, whole)
    assert build_m4oe(make_config(), seed=0).draw_kept(4, torch.Generator()) is None


def test_a_model_takes_exactly_its_own_tensors():
    model, other = (build_m4oe(make_config(), seed=seed) for seed in (0, 1))
    state = {name: tensor.clone() for name, tensor in other.trainable_state().items()}
    model.load_trainable_state(state)
    assert torch.equal(model(images(), "flare22"), other(images(), "flare22"))
    with pytest.raises(ValueError, match=r"heads.flare22.weight.* only one of model and file"):
        model.load_trainable_state({name: state[name] for name in state if name != "heads.flare22.weight"})
    with pytest.raises(ValueError, match=r"heads.flare22.weight is \[14, 7,"):
        model.load_trainable_state(state | {"heads.flare22.weight": torch.zeros(14, 7)})
