"""What a CPU thread does between two parallel regions: spin for a moment, then sleep."""

import os
import time

# libgomp lets idle threads spin for milliseconds before they sleep. Beside other work that is time taken from the very
# threads that they wait for: a training with a third of the machine runs at a fiftieth of its speed. Waking up takes
# time too, so on a quiet machine they spin for longer than on a busy one (`python -m benchmarks busy` measures it).
SPINS_QUIET = 10_000
SPINS_BUSY = 1_000
# By which a user says what idle threads do.
SAID = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def spin_briefly() -> None:
    """Let idle threads sleep soon, unless the environment says what they do; for before torch is imported."""
    if not any(name in os.environ for name in SAID):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS_BUSY if others_compute() else SPINS_QUIET)


def others_compute() -> bool:
    """Whether other threads of this machine want a core all the time; False where the system does not tell."""
    waiting = []
    for _ in range(3):
        try:
            with open("/proc/loadavg", encoding="ascii") as file:
                # "0.20 0.07 0.02 1/345 1234": of all threads those that run or could, this one included.
                waiting.append(int(file.read().split()[3].partition("/")[0]) - 1)
        except (OSError, ValueError, IndexError):
            return False
        time.sleep(0.01)
    return min(waiting) > 0
