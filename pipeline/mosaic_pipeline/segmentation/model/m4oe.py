"""M4oE (Jiang & Shen, MICCAI 2024, arXiv:2405.09446): a SwinUNet whose MLPs are experts, with a head a dataset."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from mosaic_pipeline.model.named import Named
from mosaic_pipeline.model.state import load_exactly
from mosaic_pipeline.present import present
from mosaic_pipeline.segmentation.model.drop_path import draw_kept, set_kept
from mosaic_pipeline.segmentation.model.experts import ExpertMlp, Route, build_gate, expert_mlps
from mosaic_pipeline.segmentation.model.heads import DatasetHeads, UnionHead
from mosaic_pipeline.segmentation.model.pretrain import Reconstruction
from mosaic_pipeline.segmentation.model.swin_unet import SwinUnet

if TYPE_CHECKING:
    from mosaic_pipeline.segmentation.config import Config

# The trunk of all datasets; where nothing is shared there is one by the name of each.
SHARED = "shared"
# Masked modelling through each dataset's own expert; supervised, hard-routed; all experts mixed by gates; and experts
# and heads that join what is trained already, and stays as it is.
Phase = Literal["pretrain", "experts", "gate", "adapt"]


Kind = Literal["trunk", "expert", "gate", "head", "reconstruction"]


@dataclass(frozen=True)
class Part:
    """What a parameter belongs to: kind, whose it is (None: of all), and whether it is of a norm."""

    kind: Kind
    of: str | None
    norm: bool


class M4oE(nn.Module):
    """One network for all datasets, a batch of one of them at a time.

    In every block that has experts, x' = x + MSA(LN1(x)), y = x' + E_e(LN2(x')) with the dataset's own expert e, or
    y = x' + sum_e g_e E_e(LN2(x')) once gates g mix them. Attention, norms and everything between the blocks is shared,
    unless `routing` is `single`: then each dataset has a network of its own.
    """

    def __init__(self, config: "Config") -> None:
        """Build the network of a resolved configuration, its values still those of torch and timm."""
        super().__init__()
        self.datasets, self.config = config.datasets, config
        self.route = Route(own_prior=config.experts.gate_start == "own")
        single = config.experts.routing == "single"
        trunks = {name: [name] for name in config.experts.names} if single else {SHARED: list(config.experts.names)}
        self.trunks = Named({name: _trunk(config, experts, self.route) for name, experts in trunks.items()})
        self._route_of = {
            expert: (name, index) for name, experts in trunks.items() for index, expert in enumerate(experts)
        }
        heads = UnionHead if config.experts.head == "union" else DatasetHeads
        self.heads = heads(config.model.dim, config.datasets)
        pretrained = trunks if config.train.pretrain_rounds else ()
        self.reconstructions = Named({name: Reconstruction(config.model.dim) for name in pretrained})
        self._parts = dict(self._sorted())
        self.phase: Phase = "gate" if self.gates else "experts"

    @property
    def gates(self) -> dict[str, nn.Module]:
        """The gates by trunk and block, such as `shared.encoder.0.1`; none where routing is hard."""
        return {
            f"{trunk}.{block}": each.mlp.gate
            for trunk, network in self.trunks.items()
            for block, each in network.blocks()
            if isinstance(each.mlp, ExpertMlp) and each.mlp.gate is not None
        }

    @property
    def gated(self) -> bool:
        """Whether the gates mix the experts."""
        return self.phase == "gate"

    @gated.setter
    def gated(self, value: bool) -> None:
        self.enter("gate" if value else "experts")

    def enter(self, phase: Phase) -> None:
        """Go into a phase: it says what computes, and what is neither trained nor given a gradient."""
        if phase == "gate" and not self.gates:
            raise ValueError("no gates")
        if phase == "pretrain" and not self.reconstructions:
            raise ValueError("nothing to reconstruct with")
        if phase == "adapt" and not self.config.experts.added:
            raise ValueError("no expert joins")
        self.phase = phase
        trained = {name for dataset in self.datasets for name, _ in self.active_parameters(dataset)}
        frozen = phase == "adapt" or self._gates_heads_norms
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in trained or not frozen)

    @property
    def _gates_heads_norms(self) -> bool:
        return self.gated and self.config.experts.gate_trains == "gates_heads_norms"

    def forward(
        self,
        images: Tensor,
        dataset: str,
        *,
        expert: str | None = None,
        kept: Tensor | None = None,
        masked: Tensor | None = None,
    ) -> Tensor:
        """Return logits [N, C, S, S] in float32 of normalised slices [N, S, S] of one dataset.

        With `expert` that one computes in the place of the dataset's own, and no gate. `kept` [N, branches] says which
        branches an image keeps (`draw_kept`), all if it is None. With a mask of coarsest tokens, `masked` [N, G, G],
        those patches are hidden, and what comes back are the images as reconstructed, [N, S, S].
        """
        trunk_name, index = self._route_of[expert or self.config.experts.of[dataset]]
        trunk = self.trunks[trunk_name]
        self.route.expert, self.route.gated = index, self.gated and expert is None
        if trunk.drop_rates:
            set_kept(trunk.paths(), kept)
        x = trunk.embed(images[:, None].expand(-1, self.config.model.channels, -1, -1))
        if masked is not None:
            return self.reconstructions[trunk_name](trunk, x, masked)
        return self.heads(trunk(x), dataset)

    def draw_kept(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Draw which branches `count` images keep, [count, branches]; None where no branch is ever left out."""
        rates = next(iter(self.trunks.values())).drop_rates
        return draw_kept(rates, count, generator) if rates else None

    def computing_parameters(self, dataset: str) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield what a batch of `dataset` goes through in the phase at hand."""
        for name, parameter in self.named_parameters():
            if self._computes(self._parts[name], dataset):
                yield name, parameter

    def active_parameters(self, dataset: str) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield what a batch of `dataset` trains in the phase at hand."""
        for name, parameter in self.computing_parameters(dataset):
            if self._is_trained(self._parts[name], dataset):
                yield name, parameter

    def _computes(self, part: Part, dataset: str) -> bool:
        expert = self.config.experts.of[dataset]
        trunk, _ = self._route_of[expert]
        if part.kind == "head":
            return self.phase != "pretrain" and part.of in (dataset, None)
        if part.kind == "expert":
            return self.gated or part.of == expert
        if part.kind == "gate":
            return self.gated
        return part.of == trunk and (part.kind == "trunk" or self.phase == "pretrain")

    def _is_trained(self, part: Part, dataset: str) -> bool:
        if self._gates_heads_norms:
            return part.kind in ("gate", "head") or part.norm
        if self.phase == "adapt":
            return part.kind in ("expert", "head") and dataset in self.config.datasets_in("adapt")
        return True

    def is_trainable(self, name: str) -> bool:
        """Whether the parameter of that name is trained in some phase and saved: all are."""
        return name in self._parts

    def trainable_state(self) -> dict[str, Tensor]:
        """Return the trainable tensors by name: all that a checkpoint or a model file holds."""
        return {name: parameter.detach() for name, parameter in self.named_parameters()}

    def load_trainable_state(self, state: dict[str, Tensor]) -> None:
        """Copy tensors into the model: exactly its own by name, shape and dtype (ValueError otherwise)."""
        load_exactly(self.trainable_state(), state)

    def parameter_counts(self) -> dict[str, int | dict[str, int]]:
        """Return the number of parameters by component, and in total."""
        sizes = {name: parameter.numel() for name, parameter in self.named_parameters()}

        def count(kind: str, of: str | None = None) -> int:
            parts = self._parts.items()
            return sum(sizes[name] for name, part in parts if part.kind == kind and of in (None, part.of))

        return {
            "trunk": count("trunk"),
            "experts": {name: count("expert", name) for name in self.config.experts.names},
            "gates": count("gate"),
            "heads": count("head"),
            "reconstruction": count("reconstruction"),
            "trainable": sum(sizes.values()),
            "total": sum(sizes.values()),
        }

    def _sorted(self) -> Iterator[tuple[str, Part]]:
        """Yield what each parameter belongs to."""
        kinds: dict[int, tuple[Kind, str | None]] = {}
        for name, trunk in self.trunks.items():
            kinds |= {id(parameter): ("trunk", name) for parameter in trunk.parameters()}
            for mlp in expert_mlps(trunk).values():
                for expert, module in mlp.experts.items():
                    kinds |= {id(parameter): ("expert", expert) for parameter in module.parameters()}
                gate = mlp.gate.parameters() if mlp.gate else ()
                kinds |= {id(parameter): ("gate", name) for parameter in gate}
        for name, head in self.heads.named_children():
            of = name if isinstance(self.heads, DatasetHeads) else None
            kinds |= {id(parameter): ("head", of) for parameter in head.parameters()}
        for name, each in self.reconstructions.items():
            kinds |= {id(parameter): ("reconstruction", name) for parameter in each.parameters()}
        norms = {id(p) for module in self.modules() if isinstance(module, nn.LayerNorm) for p in module.parameters()}
        for name, parameter in self.named_parameters():
            yield name, Part(*kinds[id(parameter)], norm=id(parameter) in norms)


def _trunk(config: "Config", experts: list[str], route: Route) -> SwinUnet:
    """Build a trunk with experts by these names in the blocks of `experts.where`."""
    own, model = config.experts, config.model

    def mlp(place: str, dim: int) -> ExpertMlp | None:
        if own.where not in ("both", place):
            return None
        gate = build_gate(dim, len(experts), present(own.gate)) if own.mix == "gated" else None
        return ExpertMlp(dim, dim * own.width, experts, gate, route)

    return SwinUnet(
        size=model.size,
        channels=model.channels,
        patch=model.patch,
        dim=model.dim,
        depths=model.depths,
        heads=model.heads,
        window=model.window,
        drop_path=model.drop_path,
        mlp=mlp,
    )
