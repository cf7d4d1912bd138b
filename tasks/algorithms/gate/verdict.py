"""One verdict of many scores, and why in one sentence."""

from tasks.algorithms.gate.paired import Verdict, gravest
from tasks.algorithms.gate.pairs import Row, Rows

_MEANING: dict[Verdict, str] = {
    "investigate": "A sure loss that wants a look",
    "underpowered": "Too few items to rule out a grave drop",
    "fail": "A sure loss beyond what the recipe allows",
}


def verdict_of(scores: Rows) -> tuple[Verdict, str]:
    """The gravest verdict, and the scores that it comes from; with nothing to judge it is underpowered.

    How a model answers is a guard against bad habits: that there are none does not show what it still knows.
    """
    gated = [score for score in scores if score["verdict"]]
    verdict = gravest([score["verdict"] for score in gated])
    if verdict != "fail" and all(score["group"] == "behaviour" for score in gated):
        return "underpowered", "Nothing was measured that the gate could judge; add a benchmark or a held-out split."
    if verdict == "pass":
        told = dict.fromkeys(_name(score) for score in gated if score["group"] != "behaviour")
        habits = any(score["group"] == "behaviour" for score in gated)
        ending = "; no bad habit has surely grown." if habits else "."
        return verdict, f"No sure loss on {', '.join(told)}{ending}"
    return verdict, f"{_MEANING[verdict]}: {'; '.join(_told(each) for each in gated if each['verdict'] == verdict)}."


def _name(score: Row) -> str:
    return str(score["name"]) + (" (against production)" if score["against"] == "production" else "")


def _told(score: Row) -> str:
    unit = "points" if score["unit"] == "%" else score["unit"]
    digits = 1 if score["unit"] == "%" else 3
    told = f"{_name(score)} {score['difference']:+.{digits}f} {unit}"
    if score["unit"] == "%":
        told += f" ({score['low']:+.1f} to {score['high']:+.1f})"
    if score["needed_items"]:
        told += f", about {score['needed_items']:,} items would decide"
    return told + (f" [{score['note'].rstrip('.')}]" if score["note"] else "")
