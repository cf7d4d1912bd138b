"""Presets: settings of a scale, as a recipe names them in its `preset`; what the recipe itself says goes first."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).resolve().parents[1] / "deployments" / "presets"


class PresetError(ValueError):
    """A preset that is not there."""


def preset_names(kind: str | None = None) -> list[str]:
    """What recipes of a kind may name. The demo's files lie there, too, but are whole recipes."""
    read = {path.stem: _read(path) for path in _files()}
    return [name for name, preset in read.items() if "sources" not in preset and preset.get("kind") == kind]


def preset_file(name: str) -> Path:
    """Where a preset or a recipe of the demo lies."""
    found = [path for path in _files() if path.stem == name]
    if not found:
        raise PresetError(f"no preset {name}.yaml was installed with Fettle; install it again")
    return found[0]


def with_preset(document: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's document with its preset below it, and without the name of that."""
    told = {name: value for name, value in document.items() if name != "preset"}
    name = document.get("preset")
    if name is None:
        return told
    # A preset for another kind of recipe makes the recipe one of that kind.
    names = [*(() if "kind" in told else preset_names()), *preset_names("classification")]
    if name not in names:
        close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}? " if close else ""
        raise PresetError(f"preset is {name!r}, and there is none of that name; {hint}There are {', '.join(names)}")
    return _over(told, _read(preset_file(str(name))))


def _files() -> list[Path]:
    if not _FOLDER.is_dir():
        raise PresetError("no presets were installed with Fettle; install it again")
    return sorted(_FOLDER.glob("*.yaml"))


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read


def _over(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings, field by field; where both have one the upper's goes, but mappings are put together in turn."""
    merged = dict(lower)
    for name, value in upper.items():
        below = merged.get(name)
        if isinstance(value, Mapping) and isinstance(below, Mapping) and not _of_other_kind(value, below):
            merged[name] = _over(value, below)
        else:
            merged[name] = value
    return merged


def _of_other_kind(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> bool:
    """True where the fields of one, such as LoRA's rank, are unknown to the other, such as full training."""
    return "kind" in upper and upper["kind"] != lower.get("kind")
