"""`build/bench.json`: one record a figure, each with the machine and the time of its measurement."""

import os
import platform
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tasks.config import Config
from tests.speed.figure import Figure, Measurement


class LedgerError(Exception):
    """The file is no list of records."""


class Machine(Config):
    """What the figures were measured on; neither its name nor its paths."""

    cpu: str
    cores: int
    """Cores that this process may use."""
    memory_gib: float


class Record(Config):
    """A figure as it is written."""

    name: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    ratio: float
    """Above 1 means ahead of the peer."""
    checked: str
    """The equality that was verified in the run of the measurement."""
    machine: Machine
    at: str
    """UTC, ISO 8601."""


_RECORDS = TypeAdapter(list[Record])


def this_machine() -> Machine:
    """The machine that this process runs on."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    can_choose = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if can_choose else os.cpu_count() or 1
    return Machine(cpu=_cpu_model(), cores=cores, memory_gib=round(memory_bytes / 2**30, 1))


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def record(figure: Figure, measurement: Measurement) -> Record:
    """The record of a measurement that was made just now."""
    return Record(
        name=figure.name,
        ours=measurement.ours,
        peer=measurement.peer,
        peer_name=measurement.peer_name,
        unit=measurement.unit,
        ratio=measurement.ratio,
        checked=measurement.checked,
        machine=this_machine(),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def read(path: Path) -> list[Record]:
    """The records of earlier runs; raises `LedgerError`."""
    if not path.exists():
        return []
    try:
        return _RECORDS.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "the file"
        raise LedgerError(f"{path.name} cannot be read at {place}: {first['msg']}; delete it and run again") from None


def merge(
    old: Iterable[Record], new: Iterable[Record], *, attempted: Collection[str], known: list[str]
) -> list[Record]:
    """New records, and the old ones of figures that still exist and were not attempted now, in the figures' order.

    A figure that was attempted and failed has no record: its old numbers are those of other code.
    """
    kept = {each.name: each for each in old if each.name in known and each.name not in attempted}
    kept.update({each.name: each for each in new})
    return sorted(kept.values(), key=lambda each: known.index(each.name))


def write(path: Path, records: list[Record]) -> None:
    """Write all records in place of the earlier ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_bytes(_RECORDS.dump_json(records, indent=1) + b"\n")
    draft.replace(path)
