"""The rows of a table of scores, as people read them: the verdict beside the measure, numbers with their units."""

from collections.abc import Iterable

from tasks.reporting import wording
from tasks.reporting.score_facts import ScoreFacts


def score_rows(scores: Iterable[ScoreFacts]) -> list[dict[str, object]]:
    """A measure a row."""
    return [
        {
            "measure": score.name,
            "against": score.against,
            "verdict": score.verdict,
            "before": wording.score(score.base, score.unit),
            "tuned": wording.score(score.tuned, score.unit),
            "change": wording.change(score.difference, score.unit),
            "interval": wording.interval(score.low, score.high, score.unit),
            "items": score.items,
        }
        for score in scores
    ]
