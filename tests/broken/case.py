"""What a case of broken input is, whoever lists it."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Case(NamedTuple):
    """A broken file, and what reading it must come to: counted rejects, or an error that says what is wrong."""

    name: str
    """What is broken, in words; unique over all cases."""
    file: str
    """The file's name, whose ending tells its kind."""
    data: bytes
    """The file's bytes."""
    rejects: dict[str, int] | None = None
    """Rows rejected, by cause; empty where all can be read after all. None where the file fails."""
    error: str | None = None
    """A pattern of the error's text, where the file fails by name."""
    read: int | None = None
    """Rows read, kept and rejected together, where that is worth saying."""
    settings: Mapping[str, Any] = {}
    """Further settings of the source, such as its format or its field map."""
