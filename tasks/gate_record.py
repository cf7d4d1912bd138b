"""The gate's record, read again before anything is published or promoted. Whatever is in doubt is refused."""

from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.artifacts.manifest import Manifest
from tasks.artifacts.registry import Version
from tasks.artifacts.store import Store

GATES = "gates.json"
CLASSIFIER_EVALUATION = "classifier-evaluation"
"""The stage whose model has no base that could be measured."""

_NUMBERS = ("base", "tuned", "difference", "low", "high", "bootstrap_low", "bootstrap_high", "mcnemar_p")
SCORES = pa.schema(
    [
        *((name, pa.string()) for name in ("name", "kind", "group", "against", "better", "unit")),
        *((name, pa.int64()) for name in ("items", "clusters", "lost", "gained", "needed_items")),
        *((name, pa.float64()) for name in (*_NUMBERS, "smallest_visible")),
        *((name, pa.string()) for name in ("verdict", "note")),
    ]
)
"""A measure a row: `difference` is tuned − base, with its interval; a verdict where the gate looks at it."""


class GateRefusedError(Exception):
    """The gate did not let the model through; nothing was published or promoted."""


class Gates(BaseModel):
    """What an evaluation wrote of its verdict, and of what it judged."""

    model_config = ConfigDict(frozen=True)

    verdict: Literal["pass", "investigate", "fail", "underpowered"]
    reason: str
    weights: str
    """Content digest of the tuned model."""
    base_weights: str | None
    """Of the base model; none of a classifier, whose base tells no labels."""
    measured: dict[str, str | None]
    """Addresses of the measurements that were compared: `base`, `tuned`, and `production` where there was one."""
    scores: list[dict[str, Any]]


def read_gates(store: Store, evaluation: str) -> Gates:
    """The record of an evaluation. Raises `GateRefusedError` where it is missing or does not say what it must."""
    if GATES not in store.manifest(evaluation).files:
        raise GateRefusedError(f"{evaluation} has no {GATES}, so nobody knows whether its model passed; evaluate again")
    try:
        return Gates.model_validate_json(store.read_file(evaluation, GATES))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "the file"
        raise GateRefusedError(
            f"{GATES} of {evaluation} cannot be read at {place}: {first['msg']}; evaluate again"
        ) from None


def require_passed(store: Store, evaluation: str, weights: str, *, accept_investigate: bool) -> Gates:
    """The record, if it is of these weights, tells of what was really compared, and passed them.

    Raises `GateRefusedError` in any other case.
    """
    gates = read_gates(store, evaluation)
    if gates.weights != weights:
        raise GateRefusedError(
            f"the gate judged the weights {gates.weights[:16]}, not {weights[:16]}, which were to be published; "
            "evaluate these weights"
        )
    _require_fresh(store, evaluation, gates)
    # A verdict for want of items, or a sure loss, is accepted by no setting.
    accepted = ("pass", "investigate") if accept_investigate else ("pass",)
    if gates.verdict not in accepted:
        raise GateRefusedError(f"not published, the gate says {gates.verdict}. {gates.reason}")
    return gates


def require_same_files(store: Store, version: Version) -> None:
    """Raise `GateRefusedError` where a version's record names other weights than the training made."""
    made = store.manifest(version.training)
    if made.content != version.weights:
        raise GateRefusedError(
            f"{version.training} now holds the weights {made.content[:16]}, not {version.weights[:16]}, of which "
            f"version {version.version} of {version.model} was made; run again for a new version"
        )
    for name, part in made.files.items():
        known = version.files.get(name.removeprefix("model/"))
        if name.startswith("model/") and (known is None or known.sha256 != part.sha256):
            raise GateRefusedError(
                f"the record of version {version.version} of {version.model} names another {name} than "
                f"{version.training} holds; it was edited. Restore it, or run again for a new version"
            )


def require_own_report(store: Store, publication: str, evaluation: str, training: str) -> None:
    """Raise `GateRefusedError` where a report and card tell of another evaluation or training."""
    # By content: what was made anew elsewhere to the same bytes has the same report.
    told_of = {parent.content for parent in store.manifest(publication).identity.parents}
    others = [address for address in (evaluation, training) if store.manifest(address).content not in told_of]
    if others:
        raise GateRefusedError(f"the report and card in {publication} are not of {others[0]}; run again to make them")


def _require_fresh(store: Store, evaluation: str, gates: Gates) -> None:
    judged = store.manifest(evaluation)
    sides = {"base": gates.base_weights, "tuned": gates.weights}
    if judged.identity.stage == CLASSIFIER_EVALUATION:
        del sides["base"]
    for side, weights in sides.items():
        measurement = _measurement(store, judged, gates, side)
        if weights not in [parent.content for parent in measurement.identity.parents]:
            named = (weights or "that are not named")[:16]
            raise _stale(evaluation, f"{gates.measured[side]} is no measurement of the {side} weights {named}")
    if gates.measured.get("production") is not None:
        _measurement(store, judged, gates, "production")


def _measurement(store: Store, judged: Manifest, gates: Gates, side: str) -> Manifest:
    """The measurement of one side, if the evaluation was made of it, and it has not changed since."""
    evaluation, address = judged.identity.address, gates.measured.get(side)
    compared = {parent.address: parent.content for parent in judged.identity.parents}
    if address is None or address not in compared:
        raise _stale(evaluation, f"it tells of {address or 'no measurement'} as {side}, which it did not compare")
    measurement = store.find_manifest(address)
    if measurement is None:
        raise _stale(evaluation, f"the measurement {address} that it compared is gone")
    if measurement.content != compared[address]:
        raise _stale(evaluation, f"the measurement {address} was made anew since it was compared")
    return measurement


def _stale(evaluation: str, what: str) -> GateRefusedError:
    return GateRefusedError(f"the verdict of {evaluation} is stale: {what}; evaluate again")
