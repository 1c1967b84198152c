"""The names that others give to the parts of a ViT, and timm's for them.

A checkpoint holds a ViT below some prefix: that of a wrapper (`module.`), of a nested dictionary (`state_dict.`,
`teacher.backbone.`), or none. The prefix is found by the name that each family gives to the class token. Sources: the
conversions in transformers (models/{vit,deit,dinov2,dinov2_with_registers}/convert_*.py), timm's vision_transformer.py,
and https://github.com/facebookresearch/dinov2.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_BLOCK = r"blocks\.(\d+)\."
_HF = r"encoder\.layer\.(\d+)\."
_CLIP = r"transformer\.resblocks\.(\d+)\."
_HF_CLIP = r"encoder\.layers\.(\d+)\."


@dataclass(frozen=True)
class Family:
    """Names of one origin: the class token's, by which it is known, another that it has, and timm's for its own.

    A name that no rule matches as a whole is timm's. A target with `#n` is the n-th part, along rows, of a tensor. What
    has no class token is known by that of its patches.
    """

    title: str
    token: str
    also: str
    rules: tuple[tuple[str, str], ...] = ()

    def renamed(self, name: str) -> str:
        """Return timm's name, with `#n` where the tensor is a part."""
        for pattern, name_in_timm in self.rules:
            if match := re.fullmatch(pattern, name):
                return match.expand(name_in_timm)
        return name


def _hf_attention(block: str) -> Iterable[tuple[str, str]]:
    for part, name in enumerate(("query", "key", "value")):
        yield block + rf"attention\.attention\.{name}\.(\w+)", rf"blocks.\1.attn.qkv.\2#{part}"
    yield block + r"attention\.output\.dense\.(\w+)", r"blocks.\1.attn.proj.\2"


FAMILIES = (
    Family(
        "Hugging Face",
        "embeddings.cls_token",
        "embeddings.patch_embeddings.projection.weight",
        (
            (r"embeddings\.(cls_token|mask_token)", r"\1"),
            (r"embeddings\.distillation_token", "dist_token"),
            (r"embeddings\.register_tokens", "reg_token"),
            (r"embeddings\.position_embeddings", "pos_embed"),
            (r"embeddings\.patch_embeddings\.projection\.(\w+)", r"patch_embed.proj.\1"),
            *_hf_attention(_HF),
            (_HF + r"(norm\d|mlp\.fc\d)\.(\w+)", r"blocks.\1.\2.\3"),
            (_HF + r"layernorm_before\.(\w+)", r"blocks.\1.norm1.\2"),
            (_HF + r"layernorm_after\.(\w+)", r"blocks.\1.norm2.\2"),
            (_HF + r"(?:intermediate\.dense|mlp\.weights_in)\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
            (_HF + r"(?:output\.dense|mlp\.weights_out)\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
            (_HF + r"layer_scale(\d)\.lambda1", r"blocks.\1.ls\2.gamma"),
            (r"layernorm\.(\w+)", r"norm.\1"),
        ),
    ),
    Family(
        "Hugging Face's CLIP",
        "embeddings.class_embedding",
        "embeddings.patch_embedding.weight",
        (
            (r"embeddings\.class_embedding", "cls_token"),
            (r"embeddings\.position_embedding\.weight", "pos_embed"),
            (r"embeddings\.patch_embedding\.(\w+)", r"patch_embed.proj.\1"),
            (r"pre_layrnorm\.(\w+)", r"norm_pre.\1"),
            *((_HF_CLIP + rf"self_attn\.{p}_proj\.(\w+)", rf"blocks.\1.attn.qkv.\2#{i}") for i, p in enumerate("qkv")),
            (_HF_CLIP + r"self_attn\.out_proj\.(\w+)", r"blocks.\1.attn.proj.\2"),
            (_HF_CLIP + r"layer_norm(\d)\.(\w+)", r"blocks.\1.norm\2.\3"),
            (_HF_CLIP + r"(mlp\.fc\d)\.(\w+)", r"blocks.\1.\2.\3"),
            (r"post_layernorm\.(\w+)", r"norm.\1"),
        ),
    ),
    Family(
        "OpenAI's CLIP",
        "class_embedding",
        "conv1.weight",
        (
            ("class_embedding", "cls_token"),
            ("positional_embedding", "pos_embed"),
            (r"conv1\.weight", "patch_embed.proj.weight"),
            (r"ln_pre\.(\w+)", r"norm_pre.\1"),
            (_CLIP + r"attn\.in_proj_(\w+)", r"blocks.\1.attn.qkv.\2"),
            (_CLIP + r"attn\.out_proj\.(\w+)", r"blocks.\1.attn.proj.\2"),
            (_CLIP + r"ln_(\d)\.(\w+)", r"blocks.\1.norm\2.\3"),
            (_CLIP + r"mlp\.c_fc\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
            (_CLIP + r"mlp\.c_proj\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
            (r"ln_post\.(\w+)", r"norm.\1"),
        ),
    ),
    Family(
        "timm",
        "cls_token",
        "patch_embed.proj.weight",
        (
            # DINOv2's own: blocks in chunks, its SwiGLU and registers; DeiT-3's layer scale.
            (r"blocks\.\d+\.(\d+)\.mlp\.w12\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
            (r"blocks\.\d+\.(\d+)\.mlp\.w3\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
            (r"blocks\.\d+\.(\d+)\.(.+)", r"blocks.\1.\2"),
            (_BLOCK + r"mlp\.w12\.(\w+)", r"blocks.\1.mlp.fc1.\2"),
            (_BLOCK + r"mlp\.w3\.(\w+)", r"blocks.\1.mlp.fc2.\2"),
            ("register_tokens", "reg_token"),
            (_BLOCK + r"gamma_(\d)", r"blocks.\1.ls\2.gamma"),
        ),
    ),
)

# What stands beside a ViT in files, by timm's names or those of its origin: heads, and what only pre-training uses.
_BESIDE = re.compile(
    r"(head|heads|head_dist|fc|fc_norm|pre_logits|pooler|attn_pool|proj|mask_token|masked_embed|decoder\w*|predictor"
    r"|\w+_head|\w*classifier|\w*project(ion|or)\w*|embeddings\.position_ids)(\..+)?"
)


def is_beside(name: str) -> bool:
    """Whether a tensor of that name, after its prefix, is no part of a ViT's way to its features."""
    return bool(_BESIDE.fullmatch(name))


def find(names: set[str], families: Sequence[Family] = FAMILIES) -> list[tuple[Family, str]]:
    """Return the family whose names a checkpoint has, and the prefix before them: for each ViT in it that may be meant.

    Of several, a teacher goes before its student and an average over training before what it is of; those that are
    equal by that are all returned.
    """
    found: dict[str, Family] = {}
    for family in families:
        for name in names:
            prefix = name.removesuffix(family.token)
            if prefix != name and (not prefix or prefix.endswith(".")) and prefix + family.also in names:
                found.setdefault(prefix, family)
    best = min(map(_rank, found), default=None)
    return [(found[prefix], prefix) for prefix in sorted(found) if _rank(prefix) == best]


def _rank(prefix: str) -> tuple[bool, bool, bool]:
    """Return what goes first, by whole words of a prefix: `ema` is one of `state_dict_ema.`, not of `semantic.`."""
    words = set(re.split(r"[._]", prefix))
    return "student" in words, "teacher" not in words, "ema" not in words
