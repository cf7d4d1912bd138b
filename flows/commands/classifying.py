"""`fettle classify`: from files of labelled texts to a published classifier, without a recipe to write first."""

import argparse
import re
from pathlib import Path
from typing import Any

import yaml

from flows.classification import load_any, parse_any
from flows.commands.running import tell
from flows.errors import RecipeError
from flows.presets import with_preset
from flows.recipe import CLASSIFICATION

PRESET = "classifier"


def classify(options: argparse.Namespace) -> int:
    """Write the recipe where asked for, and run it."""
    path: Path = options.recipe or Path(f"{_name(options)}.yaml")
    text = recipe_text(options)
    parse_any(with_preset(yaml.safe_load(text)), "what was given")
    try:
        if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
            raise RecipeError(
                f"{path} is there and says something else; run it with `fettle run {path}`, or name another file with "
                "--recipe"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"cannot write {path}: {error.strerror}; name another file with --recipe") from None
    return tell(load_any(path, options.set), options)


def recipe_text(options: argparse.Namespace) -> str:
    """The recipe as YAML: what the command was told, over the preset."""
    fields = {name: getattr(options, name) for name in ("text", "label") if getattr(options, name)}
    if len(fields) == 1:
        raise RecipeError("--text and --label name the fields together; give both, or none to have them recognised")
    sources: list[dict[str, Any]] = []
    for number, file in enumerate(options.files):
        name = _slug(Path(file).name.split(".")[0]) or f"source-{number + 1}"
        if any(name == each["name"] for each in sources):
            name = f"{name}-{number + 1}"
        uri = file if "://" in file else str(Path(file).resolve())
        sources.append({"name": name, "uri": uri} | ({"map": fields} if fields else {}))
    recipe = {"kind": CLASSIFICATION, "preset": PRESET, "name": _name(options), "sources": sources}
    if options.base_model:
        folder = Path(options.base_model)
        recipe["base_model"] = str(folder.resolve()) if folder.is_dir() else options.base_model
    return yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=120)


def _name(options: argparse.Namespace) -> str:
    name = options.name or _slug(Path(options.files[0]).name.split(".")[0])
    if not name:
        raise RecipeError(f"{options.files[0]} gives the model no name; give one with --name")
    return str(name)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]
