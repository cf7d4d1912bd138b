"""Presets are sound at their own scale, and give way to the recipe."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.errors import RecipeError
from flows.presets import preset_names
from flows.recipe import Recipe, load_recipe
from tasks.algorithms.training.advice import Setup, advise

REPOSITORY = Path(__file__).resolve().parents[2]
SCALES: dict[str, dict[str, Any]] = {
    # Rows of the mixture, packed rows, parameters.
    "1b-1k": {"parameters": 1_200_000_000, "rows": 1000, "sequences": 150},
    "7b-50k": {"parameters": 7_600_000_000, "rows": 50_000, "sequences": 5_000},
    "70b-500k": {"parameters": 70_600_000_000, "rows": 500_000, "sequences": 60_000},
    "continued-pretraining": {"parameters": 8_000_000_000, "rows": 1_000_000, "sequences": 300_000},
}


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(f"name: a\nbase_model: x\nsources: [{{name: s, uri: u}}]\n{text}")
    return path


def loaded(folder: Path, text: str, *settings: str) -> Recipe:
    return load_recipe(written(folder, text), settings)


def setup(recipe: Recipe, **scale: int) -> Setup:
    training, method = recipe.training, recipe.training.method
    adapter = {name: getattr(method, name) for name in ("rank", "alpha", "dropout", "rslora") if hasattr(method, name)}
    return Setup(
        learning="an adapter" if adapter else "every weight",
        learning_rate=training.learning_rate,
        epochs=training.epochs,
        batch_size=training.batch_size,
        warmup_ratio=training.warmup_ratio,
        weight_decay=training.weight_decay,
        evaluations=training.evaluations,
        heldout_rows=training.heldout_rows,
        max_length=recipe.tokenization.max_length,
        **adapter,
        **scale,
    )


def test_every_preset_has_a_scale() -> None:
    assert preset_names() == sorted(SCALES)


@pytest.mark.parametrize("name", SCALES)
def test_a_preset_is_sound_at_its_own_scale(name: str, tmp_path: Path) -> None:
    recipe = loaded(tmp_path, f"preset: {name}\n")
    assert advise(setup(recipe, **SCALES[name])) == ()
    assert recipe.training != loaded(tmp_path, "").training


def test_the_demo_needs_no_advice() -> None:
    recipe = load_recipe(REPOSITORY / "deployments" / "presets" / "demo.yaml")
    assert advise(setup(recipe, parameters=1_132_416, rows=4000, sequences=844)) == ()


def test_the_recipe_goes_first_and_settings_before_it(tmp_path: Path) -> None:
    text = "preset: 7b-50k\ntraining: {method: {rank: 8}, epochs: 1}\n"
    training = loaded(tmp_path, text, "training.epochs=3").training
    assert (training.method.kind, training.method.rank, training.method.alpha) == ("lora", 8, 128)
    assert (training.epochs, training.learning_rate, training.heldout_rows) == (3, 2e-4, 512)


def test_a_preset_may_be_a_setting(tmp_path: Path) -> None:
    assert loaded(tmp_path, "", "preset=70b-500k") == loaded(tmp_path, "preset: 70b-500k\n")


def test_null_goes_before_the_preset(tmp_path: Path) -> None:
    assert loaded(tmp_path, "preset: 7b-50k\ntokenization: {max_length: null}\n").tokenization.max_length is None


def test_another_method_does_not_inherit_fields_it_lacks(tmp_path: Path) -> None:
    training = loaded(tmp_path, "preset: 7b-50k\ntraining: {method: {kind: full}, learning_rate: 1.0e-5}\n").training
    assert (training.method.kind, training.heldout_rows) == ("full", 512)


@pytest.mark.parametrize("name", ["7b-50", "demo", "[1, 2]"])
def test_an_unknown_preset_is_told_off_with_the_list(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        loaded(tmp_path, f"preset: {name}\n")
    assert "there is none of that name" in str(caught.value)
    assert "1b-1k, 70b-500k, 7b-50k, continued-pretraining" in str(caught.value)
    assert ("did you mean 7b-50k?" in str(caught.value)) == (name == "7b-50")


def test_a_fault_beside_a_preset_is_still_found(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"training\.epoch: there is no such field; did you mean epochs\?"):
        loaded(tmp_path, "preset: 7b-50k\ntraining: {epoch: 1}\n")


def test_presets_come_with_the_package(tmp_path: Path) -> None:
    """Laid out as an installed wheel is: the packages side by side."""
    site = tmp_path / "site"
    flows = site / "flows"
    flows.mkdir(parents=True)
    for name in ("__init__.py", "presets.py"):
        (flows / name).write_bytes((REPOSITORY / "flows" / name).read_bytes())
    (site / "deployments").symlink_to(REPOSITORY / "deployments")
    code = "import flows.presets as p; print(p.__file__, *p.preset_names())"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=site,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    place, *names = answer.stdout.split()
    assert Path(place).is_relative_to(site)
    assert names == preset_names()
