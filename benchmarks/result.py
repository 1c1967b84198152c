"""What a benchmark returns, as a table and as JSON."""

import platform
import statistics
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class Result:
    """One benchmark: rows of named values, and notes on how to read them."""

    name: str
    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Return the rows as a Markdown table; a list of numbers is shown as median (smallest to largest)."""
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        cells = [columns] + [[show(row.get(column, "")) for column in columns] for row in self.rows]
        widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in cells
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([f"## {self.name}", "", *lines, "", *self.notes])


def show(value: Any) -> str:
    """Return a value as text, numbers with three digits."""
    if isinstance(value, list):
        return f"{show(statistics.median(value))} ({show(min(value))} to {show(max(value))})"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def machine(device: torch.device) -> dict[str, Any]:
    """Describe the hardware and the libraries."""
    described = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
    return described


def processor() -> str:
    """Return the processor's name as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
