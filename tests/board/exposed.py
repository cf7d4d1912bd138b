"""What the board exposes, read back as Prometheus reads it."""

from collections.abc import Iterable

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flows.board.service import Board


class Exposed:
    """Samples by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        families = list(text_string_to_metric_families(text))
        self.names = {sample.name for family in families for sample in family.samples}
        self._samples = [sample for family in families for sample in family.samples]

    def of(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """Values by the labels that were not asked for."""
        return {
            tuple(value for key, value in sorted(sample.labels.items()) if key not in labels): sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }

    def one(self, name: str, **labels: str) -> float:
        """The only value."""
        (value,) = self.of(name, **labels).values()
        return value


def scrape(board: Board) -> Exposed:
    """A scrape without the HTTP."""
    return Exposed(generate_latest(board.exposition.registry).decode())


def labels_of(text: str) -> Iterable[tuple[str, set[str]]]:
    """Each sample's metric and its labels' names."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, set(sample.labels)
