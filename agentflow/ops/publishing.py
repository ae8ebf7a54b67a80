"""When the metrics that were gathered are published, and how: through the logs, or by PutMetricData."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from agentflow.ops.embedded_metrics import documents
from agentflow.ops.metrics import METRICS, NAMESPACE, Dimension, Meter, Samples, dimension_value, without_dimension
from agentflow.utils.logging import EMBEDDED_METRICS

EVERY_SECONDS = 60.0  # the finest that CloudWatch keeps without a surcharge
MOST_VALUES = 150  # different ones of a metric, in one datum of PutMetricData
DATA_A_CALL = 100  # of 1,000 that are allowed: a call stays far below 1 MB

Publish = Callable[[Samples], None]

_metrics_log = logging.getLogger("agentflow.metrics")
_log = logging.getLogger(__name__)


class Publisher:
    """Publishes what a meter has gathered every minute while runs go on, on a thread of its own.

    What cannot be published is lost, and said once: it neither blocks nor fails a run.
    """

    def __init__(self, meter: Meter, publish: Publish) -> None:
        self._meter = meter
        self._publish = publish
        self._lock = threading.Lock()
        self._publishing = threading.Lock()
        self._runs = False
        self._has_failed = False

    def wake(self) -> None:
        """Make sure that what is gathered now will be published."""
        if self._runs:
            return
        with self._lock:
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._serve, name="agentflow-metrics", daemon=True).start()

    def _serve(self) -> None:
        is_idle = False
        while not is_idle:
            time.sleep(EVERY_SECONDS)
            with self._lock:
                is_idle = not self._meter.active
                self._runs = not is_idle
            self.flush()

    def flush(self) -> None:
        """Publish what is gathered, now. Blocks as long as that takes."""
        with self._publishing:
            samples = self._meter.drain()
            if not samples:
                return
            try:
                self._publish(samples)
            except Exception as error:  # noqa: BLE001 - whatever happens to metrics must not end the thread
                level = logging.DEBUG if self._has_failed else logging.WARNING
                self._has_failed = True
                _log.log(level, "metrics could not be published, and are lost: %s", error)


def publish_in_log(samples: Samples) -> None:
    """Write samples into the log, in the embedded metric format, whatever its level is."""
    for document in documents(samples, int(time.time() * 1000)):
        names = ", ".join(name for name in document if name in METRICS)
        record = logging.LogRecord(_metrics_log.name, logging.INFO, __file__, 0, f"metrics: {names}", None, None)
        setattr(record, EMBEDDED_METRICS, document)
        _metrics_log.handle(record)


def publish_by_api(client: Callable[[], Any]) -> Publish:
    """Return what publishes samples by PutMetricData.

    Parameters
    ----------
    client : returns boto3's client of CloudWatch; called where nobody waits.
    """

    def publish(samples: Samples) -> None:
        cloudwatch = client()
        for some in batched_data(samples, datetime.now(UTC)):
            cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=some)

    return publish


def batched_data(samples: Samples, at: datetime) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Return samples as the data of calls of PutMetricData."""
    everything = [*without_dimension(samples).items(), *((key, value) for key, value in samples.items() if key)]
    data = (datum for dimension, metrics in everything for datum in _data(dimension, metrics, at))
    while some := list(islice(data, DATA_A_CALL)):
        yield some


def _data(
    dimension: Dimension, metrics: Mapping[str, Mapping[float, int]], at: datetime
) -> Iterator[Mapping[str, Any]]:
    dimensions = [{"Name": dimension[0], "Value": dimension_value(dimension[1])}] if dimension else []
    for name, counted in metrics.items():
        values = iter(counted.items())
        while some := list(islice(values, MOST_VALUES)):
            yield {
                "MetricName": name,
                "Dimensions": dimensions,
                "Timestamp": at,
                "Unit": METRICS[name][0],
                "Values": [value for value, _ in some],
                "Counts": [count for _, count in some],
            }
