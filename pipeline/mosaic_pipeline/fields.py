"""What a value of params.yaml may be, whatever section it stands in."""

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def no_bool(value: Any) -> Any:
    """Refuse true and false, which pydantic would take for the numbers 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")
    return value


def written_as(pattern: str, legal: str) -> AfterValidator:
    """Return a check that a text has this pattern, as whole; `legal` says in words which that is."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"should be {legal}")
        return value

    return AfterValidator(check)


def breaks(value: str) -> list[str]:
    """Control characters, line ends and halves of characters: nothing that a name or a line of a report has."""
    return [c for c in value if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]


def _one_line(value: str) -> str:
    if bad := breaks(value):
        raise ValueError(f"should be one line of plain text, without {bad[0]!a}")
    return value


Text = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_one_line)]
VariantName = Annotated[str, written_as("[a-z][a-z0-9_]{0,63}", "lower case: a-z, 0-9, _, at most 64 of them")]
# Anything larger overflows in the libraries below.
Count = Annotated[int, BeforeValidator(no_bool), Field(ge=1, lt=2**31)]
WholeNumber = Annotated[int, BeforeValidator(no_bool), Field(ge=0, lt=2**31)]
Threads = Annotated[int, BeforeValidator(no_bool), Field(ge=1, le=1024)]
Seed = Annotated[int, BeforeValidator(no_bool), Field(ge=0, lt=2**32)]
Number = Annotated[float, BeforeValidator(no_bool), Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NonNegative = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A mapping of params.yaml: immutable, and no key but the declared ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def distinct(key: str, values: tuple[Any, ...]) -> None:
    """Raise ValueError if a value of the list under `key` stands there twice."""
    repeated = sorted({str(value) for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{key}: {', '.join(repeated)} stands there more than once")
