"""The words for organs that all datasets share: side, colour, and the tolerance of the surface Dice in mm.

The tolerances are those of FLARE22's official evaluation; it has none for the organs beyond its thirteen.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

Side = Literal["left", "right", "none"]


@dataclass(frozen=True)
class Organ:
    """One structure: `colour` is RGB as #rrggbb, `nsd_mm` None where no tolerance of its own is known."""

    name: str
    colour: str
    nsd_mm: float | None = None

    @property
    def side(self) -> Side:
        """Which of two it is, as its name says."""
        words = self.name.replace("_", " ").casefold().split()
        return next((side for side in ("left", "right") if side in words), "none")


# Neighbours in the body have colours that are told apart on grey; both of a pair are of one hue.
_TABLE = (
    Organ("spleen", "#8e44ad", 3.0),
    Organ("right kidney", "#f1c40f", 3.0),
    Organ("left kidney", "#d4a017", 3.0),
    Organ("gallbladder", "#2ecc71", 2.0),
    Organ("oesophagus", "#e67e22", 3.0),
    Organ("liver", "#c0392b", 5.0),
    Organ("stomach", "#f39ac7", 5.0),
    Organ("aorta", "#ff4d4d", 2.0),
    Organ("inferior vena cava", "#3498db", 2.0),
    Organ("portal and splenic veins", "#2456c4"),
    Organ("pancreas", "#1abc9c", 5.0),
    Organ("right adrenal gland", "#00e5ff", 2.0),
    Organ("left adrenal gland", "#00acc1", 2.0),
    Organ("adrenal glands", "#00c8e0"),
    Organ("duodenum", "#b8e04a", 7.0),
    Organ("bladder", "#ffd180"),
    Organ("prostate or uterus", "#a1887f"),
    Organ("colon", "#7cb342"),
    Organ("intestine", "#dce775"),
    Organ("rectum", "#6d4c41"),
    Organ("left femoral head", "#b0bec5"),
    Organ("right femoral head", "#eceff1"),
    Organ("tumour", "#ffeb3b"),
    Organ("liver tumour", "#fff176"),
    Organ("lung tumour", "#ffee58"),
    Organ("pancreatic tumour", "#fdd835"),
    Organ("colon tumour", "#fbc02d"),
    Organ("hepatic vessels", "#5c9ded"),
    Organ("left atrium", "#ff6e6e"),
    Organ("anterior hippocampus", "#ff8a65"),
    Organ("posterior hippocampus", "#4fc3f7"),
)

ORGANS: dict[str, Organ] = {organ.name: organ for organ in _TABLE}


def organ(name: str) -> Organ:
    """Return what is known of an organ; one that the vocabulary lacks has a colour that follows from its name."""
    return ORGANS.get(name) or Organ(name, _colour(name))


def _colour(name: str) -> str:
    """Take three bytes of the name's hash, none of them dark: drawn on scans, which are."""
    return "#" + "".join(f"{96 + byte % 160:02x}" for byte in hashlib.sha256(name.encode()).digest()[:3])
