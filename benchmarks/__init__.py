"""What docs/performance.md and the README quote: `python -m benchmarks`."""

import sys
from pathlib import Path

# They run where nothing is installed but torch, timm and numpy.
sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))
