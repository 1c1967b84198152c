"""Samples of CPU, memory, disk, network and GPU, by MLflow's collectors, delivered as all other points are."""

from collections.abc import Callable, Mapping
from threading import Event, Thread

from mosaic_pipeline.tracking.operations import SYSTEM

INTERVAL = 10  # seconds


class SystemMonitor:
    """Takes a sample every ten seconds, or as MLflow's variables say, in a thread of its own."""

    def __init__(self, log: Callable[[Mapping[str, float], int], None]) -> None:
        """Give each sample and its number to `log`."""
        self._log = log
        self._over = Event()
        self._thread = Thread(target=self._work, daemon=True, name="system metrics")
        self._thread.start()

    def finish(self) -> None:
        """Take no more."""
        self._over.set()

    def _work(self) -> None:
        from mlflow.environment_variables import (
            MLFLOW_SYSTEM_METRICS_NODE_ID,
            MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING,
            MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL,
        )
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        # Its own thread, which is not started, asks the server at each sample, and ends with the first answer that
        # does not come.
        collectors = SystemMetricsMonitor("none")
        interval = MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or INTERVAL
        samples = MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING.get() or 1
        node = MLFLOW_SYSTEM_METRICS_NODE_ID.get()
        prefix = f"{SYSTEM}{node}/" if node else SYSTEM
        number = 0
        while True:
            for _ in range(samples):
                collectors.collect_metrics()
                if self._over.wait(interval):
                    return
            self._log({prefix + key: value for key, value in collectors.aggregate_metrics().items()}, number)
            number += 1
            for monitor in collectors.monitors:
                monitor.clear_metrics()
