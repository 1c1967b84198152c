"""A node of a provenance tree: a thing, what is known of it, and what it was made from."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any


class State(str, Enum):
    """How sure it is that a thing is what was recorded."""

    VERIFIED = "verified"  # its bytes are here, were hashed again, and are the recorded ones
    RECORDED = "recorded"  # it is known, but its bytes are not here, or it has none
    MISSING = "missing"  # nothing here knows it
    DIFFERS = "differs"  # its bytes are here, and are others than the recorded ones


@dataclass(frozen=True)
class Node:
    """A thing by kind and name; `why` says what its state does not, `repeated` that its parts stand elsewhere.

    `parts` are what it was made from, `uses` what was made from it.
    """

    kind: str
    name: str
    state: State
    md5: str | None = None
    size: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    parts: tuple["Node", ...] = ()
    repeated: bool = False
    uses: tuple["Node", ...] = ()

    def walk(self) -> Iterator["Node"]:
        """Yield this node and all below it, each as often as it stands there; then what was made from it."""
        yield self
        for part in (*self.parts, *self.uses):
            yield from part.walk()

    def tree(self) -> dict[str, Any]:
        """Return it as JSON has it; what is not known or empty is left out."""
        own: dict[str, Any] = {"kind": self.kind, "name": self.name, "state": self.state.value}
        if self.size is not None:
            own["size"] = self.size
        more: dict[str, Any] = {"md5": self.md5, "facts": dict(self.facts), "why": self.why, "repeated": self.repeated}
        more["parts"] = [part.tree() for part in self.parts]
        more["made_from_it"] = [use.tree() for use in self.uses]
        return own | {key: value for key, value in more.items() if value}

    def count(self) -> dict[str, int]:
        """Return how many things are in each state; one that stands at several places counts once."""
        states = {(node.kind, node.name, node.md5): node.state for node in self.walk() if not node.repeated}
        found = Counter(states.values())
        return {state.value: found[state] for state in State if found[state]}

    def differing(self) -> list["Node"]:
        """Return the nodes whose bytes are others than the recorded ones."""
        return [node for node in self.walk() if node.state is State.DIFFERS and not node.repeated]


def differs(node: Node, why: str) -> Node:
    """Return the node as one that is not what was recorded, and why."""
    return replace(node, state=State.DIFFERS, why=f"{node.why}; {why}" if node.why else why)
