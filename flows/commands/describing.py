"""`fettle schema`."""

import argparse
import json
import sys
from pathlib import Path

from flows.classification import ClassificationRecipe
from flows.cli import DONE
from flows.presets import preset_names
from flows.recipe import Recipe


def schema(options: argparse.Namespace) -> int:
    """Print the JSON schema of a recipe."""
    sys.stdout.write(recipe_schema(options.kind))
    return DONE


def recipe_schema(kind: str | None = None) -> str:
    """The schema of a kind of recipe, as it is committed; a preset is no part of a recipe, but of its file."""
    schema = (Recipe if kind is None else ClassificationRecipe).model_json_schema()
    preset = {"description": "Settings of a scale, below what the recipe itself says.", "enum": preset_names(kind)}
    schema["properties"] = {"preset": preset, **schema["properties"]}
    return json.dumps(schema, indent=1) + "\n"


def schema_path(kind: str | None = None) -> Path:
    """Where the committed schema lies in a checkout."""
    return Path(__file__).resolve().parents[2] / "deployments" / f"{kind or 'recipe'}.schema.json"
