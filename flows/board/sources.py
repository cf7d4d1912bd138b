"""Where samples come from. A source that hangs or fails holds nobody up, and says so in a metric of its own."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from flows.board.metrics import Samples

PATIENCE_SECONDS = 5.0
"""How long an answer waits for a source; Prometheus itself waits ten seconds."""
FRESH_SECONDS = 60.0
"""How long a source's last answer stands in for one that takes longer than that."""

logger = logging.getLogger("fettle.board")


@dataclass
class _Reading:
    began: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)
    samples: list[Metric] | None = None
    seconds: float = 0.0


class Source:
    """Reads samples in a thread of its own."""

    def __init__(self, name: str, read: Callable[[Samples], None]) -> None:
        self.name = name
        self._read = read
        self._lock = threading.Lock()
        self._now: _Reading | None = None
        self._last: _Reading | None = None
        self._told = ""

    def begin(self) -> None:
        """Read once, unless a reading is under way."""
        with self._lock:
            if self._now is None:
                self._now = _Reading()
                # No pool: its threads would keep a process alive that a dead source holds up.
                threading.Thread(target=self._fill, args=(self._now,), daemon=True, name=self.name).start()

    def latest(self, deadline: float) -> _Reading | None:
        """The reading under way if it ends by then (in monotonic seconds), else the last one while it is fresh."""
        now = self._now
        if now is not None:
            now.done.wait(max(0.0, deadline - time.monotonic()))
        last = self._last
        return last if last is not None and time.monotonic() - last.began < FRESH_SECONDS else None

    def _fill(self, reading: _Reading) -> None:
        try:
            samples = Samples()
            self._read(samples)
            reading.samples = samples.families()
            self._tell("")
        except Exception as error:  # noqa: BLE001  # whatever it is, the other source's metrics go on
            self._tell(f"{type(error).__name__}: {error}")
        finally:
            reading.seconds = time.monotonic() - reading.began
            with self._lock:
                self._last, self._now = reading, None
            reading.done.set()

    def _tell(self, fault: str) -> None:
        """Log a change only: Prometheus asks four times a minute."""
        if fault and fault != self._told:
            logger.warning("the %s does not answer: %s", self.name, fault)
        elif self._told and not fault:
            logger.warning("the %s answers again", self.name)
        self._told = fault


def gather(sources: Sequence[Source], patience_seconds: float = PATIENCE_SECONDS) -> list[Metric]:
    """The samples of all sources, read side by side, and how each of them is."""
    deadline = time.monotonic() + patience_seconds
    for source in sources:
        source.begin()
    own, found = Samples(), []
    for source in sources:
        reading = source.latest(deadline)
        samples = reading.samples if reading is not None else None
        own.add("fettle_up", float(samples is not None), source.name)
        if reading is not None and samples is not None:
            own.add("fettle_reading_seconds", reading.seconds, source.name)
            found += samples
    return [*own.families(), *found]
