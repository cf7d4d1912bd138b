"""What a classifier's scores mean, in plain sentences: where it is below a rival, and which labels it misses."""

from collections.abc import Iterator, Sequence

from tasks.reporting import wording
from tasks.reporting.classifier_bounds import named
from tasks.reporting.score_facts import ScoreFacts

RIVALS = {
    "majority": "the majority class",
    "tfidf": "TF-IDF + logistic regression",
    "frozen": "the frozen backbone",
    "production": "the model in production",
}
"""What each rival of the tuned model is called in a sentence."""
MOST_LABELS = 5
"""Labels that are named one by one."""


def rival(score: ScoreFacts) -> str:
    """What a score is compared with, in words."""
    return RIVALS.get(score.against, score.against)


def standing(scores: Sequence[ScoreFacts]) -> list[str]:
    """Where the tuned model stands: below whom, else above whom; then the labels that it misses."""
    against = measured_against(scores)
    return [*_rivals(against), *_labels([score for score in scores if score.group == "label"])]


def measured_against(scores: Sequence[ScoreFacts], name: str = "macro-F1") -> list[ScoreFacts]:
    """One measure against each rival, those that the gate does not look at among them; it decides by macro-F1."""
    return [score for score in scores if score.group in ("baseline", "production") and score.name == name]


def _rivals(scores: Sequence[ScoreFacts]) -> Iterator[str]:
    below = [score for score in scores if score.difference < 0]
    for score in sorted(below, key=lambda each: each.difference):
        yield _below(score)
    above = [score for score in scores if score.effect == "better"]
    if above:
        yield f"Surely above {_several([rival(score) for score in above])}."
    level = [score for score in scores if score not in below and score not in above]
    if level:
        yield f"Not surely above {_several([rival(score) for score in level])}."


def _below(score: ScoreFacts) -> str:
    tuned, other = (wording.score(each, score.unit) for each in (score.tuned, score.base))
    span = wording.interval(score.low, score.high, score.unit)
    sure, chance = ("surely below", "") if score.effect == "worse" else ("below", ", which may be chance")
    change = f"; the change is {span}" if span else ""
    name, points = wording.sentence(score.name)[:-1], f"{abs(score.difference):.1f} points"
    return f"{name} of {tuned} is {sure} that of {rival(score)} ({other}), by {points}{chance}{change}."


def _labels(scores: Sequence[ScoreFacts]) -> Iterator[str]:
    for verdict, sure in (("fail", "surely below"), ("investigate", "below")):
        low = sorted((each for each in scores if each.verdict == verdict), key=lambda each: each.tuned)
        if low:
            chance = "" if verdict == "fail" else ", which few rows may feign"
            yield f"{_recalls(low)} {sure} the floor of {wording.score(low[0].base, '%')}{chance}."


def _recalls(scores: Sequence[ScoreFacts]) -> str:
    named_labels = [(named(each.name.removeprefix("recall of ")), each) for each in scores[:MOST_LABELS]]
    told = [f"{label} ({wording.score(each.tuned, each.unit)})" for label, each in named_labels]
    more = len(scores) - len(told)
    return f"The recall of {_several([*told, *([f'{more:,} more'] if more else [])])} is"


def _several(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
