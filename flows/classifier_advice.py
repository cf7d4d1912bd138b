"""Advice on how a classifier is trained, by how much there is to learn from."""

from collections.abc import Iterator, Sequence

from flows.classification import ClassificationRecipe
from flows.planning import Step
from tasks.artifacts.store import Store

FEW, MANY = 500, 5_000
"""Training rows below which a frozen base is the safer choice, and above which adapters are as good as all weights."""


def advise(recipe: ClassificationRecipe, store: Store, steps: Sequence[Step]) -> list[str]:
    """A sentence each; what cannot be told before the data are looked through says how to have it told."""
    mixed = next(step for step in steps if step.verb == "mix")
    manifest = store.find_manifest(mixed.address) if mixed.address else None
    if manifest is None:
        return ["which method suits depends on the training rows; `fettle plan --exact` counts them"]
    return list(_of_rows(recipe, manifest.tables["train"].rows))


def _of_rows(recipe: ClassificationRecipe, rows: int) -> Iterator[str]:
    kind = recipe.training.method.kind
    if recipe.base_model is None:
        if rows < FEW:
            yield (
                f"{rows:,} training rows are few for an encoder that knows nothing else; name a base_model, and set "
                "training.method to frozen"
            )
        if kind in ("frozen", "lora"):
            yield f"training.method {kind} keeps what a base knows, and an encoder made here knows little; use full"
    elif rows < FEW and kind != "frozen":
        yield f"with {rows:,} training rows, method {kind} learns them by heart; training.method=frozen is safer"
    elif FEW <= rows <= MANY and kind == "frozen":
        yield f"{rows:,} training rows are enough to train all weights; training.method=full is usually better"
    elif rows > MANY and kind == "frozen":
        yield f"{rows:,} training rows are enough to train all weights or adapters; use training.method=full or lora"
