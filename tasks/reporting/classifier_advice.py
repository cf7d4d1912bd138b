"""What to do next with a classifier: rules from the facts of a run to advice, with the figures that speak for it."""

from collections.abc import Callable, Iterator

from tasks.reporting import wording
from tasks.reporting.classifier_bounds import named
from tasks.reporting.classifier_facts import AdviceFacts, ClassifierFacts, ScoreFacts
from tasks.reporting.classifier_sentences import measured_against, rival

FEW_ROWS = 20
"""Rows to learn from, under which a label is told to need more."""
MUCH_CUT = 0.05
"""Share of rows that are cut, above which a longer input is worth a try."""
MUCH_DOUBTED = 0.02
"""Share of rows in doubt, above which they are looked through first."""
_MOST_NAMED = 5

Rule = Callable[[ClassifierFacts], Iterator[AdviceFacts]]


def advice(facts: ClassifierFacts) -> tuple[AdviceFacts, ...]:
    """All that the rules find, the gravest first."""
    return tuple(each for rule in RULES for each in rule(facts))


def beat_the_rivals(facts: ClassifierFacts) -> Iterator[AdviceFacts]:
    """A model that is below a simpler one is not worth its cost; one below production stays at home."""
    below = [score for score in measured_against(facts.scores) if score.difference < 0]
    simple = [score for score in below if score.against != "production"]
    if simple:
        yield AdviceFacts(
            what="Train longer, at another learning rate, or from a better base model; till then the simpler model is "
            "the better choice.",
            evidence=_told(simple),
        )
    if len(simple) < len(below):
        worse = [score for score in below if score not in simple]
        yield AdviceFacts(
            what="Leave the model in production where it is, and see what its run did otherwise with `fettle diff`.",
            evidence=_told(worse),
        )


def mend_the_labels(facts: ClassifierFacts) -> Iterator[AdviceFacts]:
    """Wrong labels spoil training and measurement alike, so they come before more rows."""
    rows = sum(source.kept for source in facts.sources)
    if facts.suspected and facts.suspected >= MUCH_DOUBTED * rows:
        whole = f" of {rows:,}" if rows else ""
        yield AdviceFacts(
            what="Look through the suspicious labels, and mend those that are wrong.",
            evidence=f"{facts.suspected:,}{whole} rows look like rows of another label.",
        )
    contradictory = [audit for audit in facts.audits if audit.contradictions]
    if contradictory:
        told = ", ".join(f"{named(audit.source)} {audit.contradictions:,}" for audit in contradictory)
        yield AdviceFacts(what="Settle which label is right where the same text bears several.", evidence=f"{told}.")


def feed_the_labels(facts: ClassifierFacts) -> Iterator[AdviceFacts]:
    """Labels that are missed want rows, or do not differ from another one."""
    missed = {
        score.name.removeprefix("recall of ") for score in facts.scores if score.group == "label" and score.verdict
    }
    train = {each.label: each.train for each in facts.distribution}
    if missed:
        told = [f"{named(label)} ({wording.rows(train[label])})" for label in sorted(missed) if label in train]
        poor = [label for label in missed if train.get(label, 0) < FEW_ROWS]
        yield AdviceFacts(
            what="Gather rows of the labels that are missed, or join them with others."
            if poor
            else "See in the confusion matrix what the missed labels are taken for, and whether they differ at all.",
            evidence=f"To learn from: {', '.join(told[:_MOST_NAMED])}." if told else "",
        )


def measure_on_more(facts: ClassifierFacts) -> Iterator[AdviceFacts]:
    """Where too few rows leave a comparison open, about so many would decide it."""
    open_cases = [score for score in measured_against(facts.scores) if score.verdict == "underpowered"]
    needed = max((score.needed_items or 0 for score in open_cases), default=0)
    if open_cases:
        many = f" to about {needed:,} rows" if needed else ""
        yield AdviceFacts(what=f"Enlarge the test split{many}.", evidence=_told(open_cases))


def read_on(facts: ClassifierFacts) -> Iterator[AdviceFacts]:
    """Rows whose end the model never reads."""
    cut, rows = sum(audit.truncated for audit in facts.audits), sum(audit.rows for audit in facts.audits)
    if cut and cut >= MUCH_CUT * rows:
        most = f" above {facts.max_length:,}" if facts.max_length is not None else ""
        yield AdviceFacts(
            what=f"Raise the longest input{most}, where the base model allows it.",
            evidence=f"{cut:,} of {rows:,} rows ({wording.percentage(cut / rows)}) are cut.",
        )


RULES: tuple[Rule, ...] = (beat_the_rivals, mend_the_labels, feed_the_labels, measure_on_more, read_on)
"""The rules, the gravest first."""


def _told(scores: list[ScoreFacts]) -> str:
    told = [f"{wording.change(each.difference, each.unit)} points against {rival(each)}" for each in scores]
    return f"{scores[0].name}: {', '.join(told)}."
