"""The demo's recipe and its data, where a worker on this machine finds them."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from flows.demo.corpus import write_corpus
from flows.demo.story import lay_out
from flows.recipe import Recipe, load_recipe
from flows.server import home

_PRESET = "demo"


def demo_recipe() -> Recipe:
    """The recipe with absolute paths; the data are made when first asked for."""
    folder = home() / _PRESET
    if not folder.is_dir():
        _make(folder)
    return load_recipe(folder / f"{_PRESET}.yaml")


def _make(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".demo-", dir=folder.parent))
    try:
        write_corpus(unfinished)
        lay_out(unfinished, _PRESET)
        with suppress(OSError):  # another process made it meanwhile
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
