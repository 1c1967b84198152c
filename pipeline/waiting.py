"""What a CPU thread does between two parallel regions: spin for a moment, then sleep."""

import os

# libgomp lets idle threads spin for milliseconds before they sleep. Beside other work that is time taken from the very
# threads that they wait for: a training that has a third of the machine then runs at a fiftieth of its speed. Sleeping
# at once costs a tenth on a quiet machine (`python -m benchmarks busy` measures both).
SPINS = 1000
# By which a user says what idle threads do.
SAID = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def spin_briefly() -> None:
    """Let idle threads sleep soon, unless the environment says what they do; for before torch is imported."""
    if not any(name in os.environ for name in SAID):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
