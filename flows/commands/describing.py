"""`fettle schema`."""

import argparse
import json
import sys
from pathlib import Path

from flows.cli import DONE
from flows.presets import preset_names
from flows.recipe import Recipe


def schema(options: argparse.Namespace) -> int:
    """Print the JSON schema of a recipe."""
    del options
    sys.stdout.write(recipe_schema())
    return DONE


def recipe_schema() -> str:
    """The schema, as it is committed; a preset is no part of a recipe, but of the file that it is written in."""
    schema = Recipe.model_json_schema()
    preset = {"description": "Settings of a scale, below what the recipe itself says.", "enum": preset_names()}
    schema["properties"] = {"preset": preset, **schema["properties"]}
    return json.dumps(schema, indent=1) + "\n"


def schema_path() -> Path:
    """Where the committed schema lies in a checkout."""
    return Path(__file__).resolve().parents[2] / "deployments" / "recipe.schema.json"
