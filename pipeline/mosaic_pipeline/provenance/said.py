"""What an evaluation says of a row of results.csv, by the row's columns."""

from collections.abc import Mapping
from typing import Any

Said = dict[str, Any]


def said_of(evaluation: Mapping[str, Any], cells: Mapping[str, str]) -> Said | None:
    """Return what it says of the row's dataset, or of its case and organ; None if it says nothing of them."""
    result = evaluation.get("datasets", {}).get(cells["dataset"])
    own = _of_organ(result, cells) if result and "case" in cells else result
    if not own:
        return None
    training = _plain(evaluation) | {"dataset": cells["dataset"]}
    if model := evaluation.get("md5", {}).get("model"):
        training["md5_model"] = model
    data = result.get("data", {})
    origin = {key: data[key] for key in ("source", "official") if key in data}
    return training | origin | _plain(own)


def _of_organ(result: Mapping[str, Any], cells: Mapping[str, str]) -> Said | None:
    organs = ((case, organ) for case in result.get("cases", ()) for organ in case.get("organs", ()))
    wanted = (cells["case"], cells.get("organ"))
    found = [(case, organ) for case, organ in organs if (case.get("case"), organ.get("organ")) == wanted]
    if not found:
        return None
    case, organ = found[0]
    source = {"source": f"{result['source']}, by slices" if case.get("block") else result["source"]}
    place = {key: case[key] for key in ("case", "patient") if key in case}
    return source | place | {"dsc_ceiling": case.get("ceiling", {}).get(organ["organ"])} | _plain(organ)


def _plain(tree: Mapping[str, Any]) -> Said:
    return {key: value for key, value in tree.items() if value is None or isinstance(value, str | int | float)}


def same(text: str, value: Any) -> bool:
    """Whether a cell says a value: numbers as such, yes and no of a truth, nothing of None."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == float(value)
        except (ValueError, OverflowError):
            return False
    return text == shown(value)


def shown(value: Any) -> str:
    """Return a value as a cell has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
