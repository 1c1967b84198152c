"""The section `ablation` of a task: which variants there are, which of them run, and why each."""

from typing import Any, ClassVar

from pydantic import model_validator
from typing_extensions import Self

from mosaic_pipeline.fields import Count, Section, VariantName, breaks, distinct

# The key of a variant that is no override: its reason.
WHY = "why"


class Variants(Section):
    """Variants by name, each a reason and dotted keys with other values; those that run, the main one first."""

    # What errors call the section.
    SECTION: ClassVar[str] = "ablation"

    run: tuple[str, ...]
    analyse: tuple[str, ...]
    analyse_cases: Count
    variants: dict[VariantName, dict[str, Any]]

    @model_validator(mode="after")
    def _check_variants(self) -> Self:
        for key, names in self._lists().items():
            distinct(key, names)
            for name in names:
                if name not in self.variants:
                    known = ", ".join(self.variants)
                    raise ValueError(f"{key}: '{name}' is not one of {self.SECTION}.variants: {known}")
        for name, overrides in self.variants.items():
            why = overrides.get(WHY)
            if not isinstance(why, str) or not why.strip() or breaks(why.strip()):
                raise ValueError(f"variants: {name}: {WHY}: say in one line what the variant is for")
        return self

    def _lists(self) -> dict[str, tuple[str, ...]]:
        """Return the lists of names by key."""
        return {"run": self.run, "analyse": self.analyse}

    def reasons(self) -> dict[str, str]:
        """Return what each variant is for, one line each."""
        return {name: overrides[WHY].strip() for name, overrides in self.variants.items()}

    def overrides(self, name: str) -> dict[str, Any]:
        """Return by dotted key what a variant changes."""
        return {key: value for key, value in self.variants[name].items() if key != WHY}
