"""What to do next: rules from the facts of a run to advice, each with the figures that speak for it."""

from collections.abc import Callable, Iterator

from tasks.algorithms.gate.behaviour import NAMES
from tasks.reporting import wording
from tasks.reporting.facts import AdviceFacts, Facts, RatingFacts, ScoreFacts, SubjectFacts

OFTEN_SEEN = 4.0
"""Passes over a row after which another brings clearly less (Muennighoff et al. 2023, arXiv 2305.16264)."""
RISING = 1.01
"""A held-out loss so many times its lowest has turned."""
MOST_BROKEN = 10.0
"""Percent of answers that leak the template or never end, above which the template is looked at first."""
GOOD_RATING = 4.0
"""People call an answer good from here on."""
FEWEST_LOST = 3
NOT_SAMPLED = "not sampled"
"""Why the mixture left a row out that it had no room for."""
INSTRUCTIONS = "ifeval"
"""The kind of benchmark whose instructions can be checked."""
_CURED = ("overfitting", "memorisation")
_BROKEN_ENDS = frozenset({NAMES["not_ended"], NAMES["template_leak"]})

Rule = Callable[[Facts], Iterator[AdviceFacts]]


def advice(facts: Facts) -> tuple[AdviceFacts, ...]:
    """All that the rules find, the gravest first."""
    return tuple(each for rule in RULES for each in rule(facts))


def mend_the_template(facts: Facts) -> Iterator[AdviceFacts]:
    """Answers that never end or show the template spoil every other measure, so they come first."""
    broken = [
        score
        for score in _scores(facts, "behaviour")
        if score.name in _BROKEN_ENDS and (score.verdict in ("fail", "investigate") or score.tuned >= MOST_BROKEN)
    ]
    if broken:
        yield AdviceFacts(
            what="Mend the chat template: see whether the end of a turn is trained, and whether the model is served "
            "with the template that it was trained with.",
            evidence=_told(broken),
        )


def leave_production_alone(facts: Facts) -> Iterator[AdviceFacts]:
    """A model that is worse than the one in production: what differs between their runs says why."""
    worse = [each for each in facts.scores if each.against == "production" and each.verdict == "fail"]
    if worse:
        yield AdviceFacts(
            what="Leave the model in production where it is, and see what its run did otherwise with `fettle diff`.",
            evidence=_told(worse),
        )


def keep_what_was_known(facts: Facts) -> Iterator[AdviceFacts]:
    """Benchmarks that surely fell: more general rows, and smaller steps or fewer weights."""
    fallen = _fallen(facts)
    if not fallen:
        return
    lost = [item.drift for item in facts.forgotten if item.drift is not None]
    if lost.count("format") > len(lost) / 2:
        yield AdviceFacts(
            what="Mix in rows that answer in the form that the benchmarks ask for: most of what was lost is form, not "
            "knowledge.",
            evidence=f"{lost.count('format'):,} of {len(lost):,} lost items hold the right answer in another form; "
            f"{_told(fallen)}",
        )
    else:
        yield AdviceFacts(what=_more_general(facts), evidence=f"{_told(fallen)}{_undrawn(facts)}")
    if any(score.verdict == "fail" for score in fallen) and facts.training:
        full = facts.training.method.casefold() == "full"
        yield AdviceFacts(
            what="Train an adapter (method: lora) instead of all weights; it forgets less."
            if full
            else "Lower the learning rate, or train fewer layers.",
            evidence=f"{_told([score for score in fallen if score.verdict == 'fail'])}; trained with "
            f"{facts.training.method}, {wording.number(facts.training.trainable_parameters)} weights",
        )


def add_forgotten_subjects(facts: Facts) -> Iterator[AdviceFacts]:
    """The subjects that lost most, of benchmarks that surely fell: elsewhere the worst of many are chance."""
    fallen = {score.name for score in _fallen(facts)}
    worst = [s for s in facts.subjects if s.benchmark in fallen and s.lost - s.gained >= FEWEST_LOST]
    worst = sorted(worst, key=lambda each: each.gained - each.lost)[:3]
    if worst:
        yield AdviceFacts(
            what=f"Add rows on {_listed([wording.words(each.subject) for each in worst])}.",
            evidence="; ".join(map(_subject, worst)),
        )


def train_less(facts: Facts) -> Iterator[AdviceFacts]:
    """Fewer epochs where the watch saw overfitting, the held-out loss rises at the end, or it got worse altogether."""
    training = facts.training
    if training is None:
        return
    found = next((each for each in training.diagnoses if each.name in _CURED), None)
    losses = [(point.heldout_loss, point.step) for point in training.curve if point.heldout_loss is not None]
    worse = [score for score in _scores(facts, "loss") if score.verdict == "fail"]
    if found is not None:
        evidence = wording.sentence(found.sentence)
    elif losses and losses[-1][0] > RISING * min(losses)[0]:
        (lowest, step), (last, end) = min(losses), losses[-1]
        evidence = f"Held-out loss was lowest ({lowest:.3f}) at step {step:,} and {last:.3f} at step {end:,}"
    elif worse:
        yield AdviceFacts(what="Lower the learning rate or the epochs.", evidence=_told(worse))
        return
    else:
        return
    yield AdviceFacts(what="Train for fewer epochs.", evidence=evidence)


def heed_the_watch(facts: Facts) -> Iterator[AdviceFacts]:
    """What else the watch over training advises."""
    for each in facts.training.diagnoses if facts.training else ():
        if each.advice and each.name not in _CURED:
            yield AdviceFacts(
                what=each.advice, evidence=wording.sentence(f"{wording.words(each.name)}: {each.sentence}")
            )


def gather_rows(facts: Facts) -> Iterator[AdviceFacts]:
    """Sources that are shown again and again, or fall short of their share."""
    for source in facts.sources:
        asked = source.requested_share
        if source.epochs > OFTEN_SEEN:
            yield AdviceFacts(
                what=f"Gather more rows of {source.name}, or lower its share.",
                evidence=f"Each of its {wording.rows(source.kept)} was seen {wording.number(source.epochs)} times; "
                f"beyond {OFTEN_SEEN:g} a further pass teaches little",
            )
        elif asked is not None and source.achieved_share < 0.8 * asked:
            yield AdviceFacts(
                what=f"Gather more rows of {source.name}.",
                evidence=f"The recipe asks for {wording.percentage(asked)}, its {wording.rows(source.kept)} gave "
                f"{wording.percentage(source.achieved_share)}",
            )
    # The gate leaves out what a run was made for; where that did not rise, its data fell short.
    for score in _scores(facts, "benchmark"):
        if score.verdict is None and score.low is not None and score.effect != "better":
            yield AdviceFacts(
                what=f"Gather more rows like the questions of {score.name}: tuning did not surely raise it.",
                evidence=_told([score]),
            )


def ask_more(facts: Facts) -> Iterator[AdviceFacts]:
    """Open cases, with the number of items that would decide them."""
    # One benchmark may be open against the base and against production; the same items decide both.
    cases = sorted((each for each in facts.scores if each.verdict == "underpowered"), key=lambda s: s.needed_items or 0)
    for score in {score.name: score for score in cases}.values():
        enough = f"; about {score.needed_items:,} would decide" if score.needed_items else ""
        span = wording.interval(score.low, score.high, score.unit)
        yield AdviceFacts(
            what=f"Ask more items of {score.name}.",
            evidence=f"{score.items:,} items leave {span} possible{enough}",
            command=facts.decide,
        )


def prefer(facts: Facts) -> Iterator[AdviceFacts]:
    """Preference tuning: the form is right, nothing was forgotten, and yet the answers do not please."""
    followed = [score for score in facts.scores if score.kind == INSTRUCTIONS and score.effect != "worse"]
    behaves = [score for score in _scores(facts, "behaviour") if score.verdict == "pass"]
    graver = any(score.verdict in ("fail", "investigate") for score in facts.scores)
    displeased = list(_displeased(facts))
    if (followed or behaves) and not graver and displeased:
        yield AdviceFacts(
            what="Tune on preferences (DPO) next: instructions are followed, but the answers stay subtly wrong. The "
            "rated samples are a first set of pairs.",
            evidence=f"{_told((followed or behaves)[:2])}; {'; '.join(displeased)}",
        )


def _displeased(facts: Facts) -> Iterator[str]:
    for judge in facts.judge:
        rate = judge.length_controlled or judge.win_rate
        if rate is not None and not judge.void and rate.low <= 0.5:
            span = f"{wording.percentage(rate.low)} to {wording.percentage(rate.high)}"
            yield f"the judge prefers the tuned answers in {wording.percentage(rate.rate)} ({span})"
    if facts.ratings is not None and _rated_low(facts.ratings):
        yield f"people rate them {facts.ratings.tuned.mean:.1f} of 5"


def _rated_low(ratings: RatingFacts) -> bool:
    return ratings.tuned.mean < GOOD_RATING


def _scores(facts: Facts, group: str) -> list[ScoreFacts]:
    return [score for score in facts.scores if score.group == group and score.against == "base"]


def _fallen(facts: Facts) -> list[ScoreFacts]:
    return [score for score in _scores(facts, "benchmark") if score.verdict in ("fail", "investigate")]


def _told(scores: list[ScoreFacts]) -> str:
    """mmlu 31.2% → 24.0%, −7.2 (−9.1 to −5.3)."""
    return "; ".join(
        f"{score.name} {wording.score(score.base, score.unit)} → {wording.score(score.tuned, score.unit)}"
        + (f" ({wording.interval(score.low, score.high, score.unit)})" if score.low is not None else "")
        for score in scores
    )


def _subject(subject: SubjectFacts) -> str:
    return (
        f"{wording.words(subject.subject)} ({subject.benchmark}) lost {subject.lost:,} and gained {subject.gained:,} "
        f"of {subject.items:,} items"
    )


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _more_general(facts: Facts) -> str:
    share = sum(source.achieved_share for source in facts.sources if source.role == "general")
    return f"Raise the share of general rows above {wording.percentage(share)}." if share else "Mix in general rows."


def _undrawn(facts: Facts) -> str:
    count = sum(source.dropped.get(NOT_SAMPLED, 0) for source in facts.sources if source.role == "general")
    return f"; {count:,} general rows were {NOT_SAMPLED}" if count else ""


RULES: tuple[Rule, ...] = (
    mend_the_template,
    leave_production_alone,
    keep_what_was_known,
    add_forgotten_subjects,
    train_less,
    heed_the_watch,
    ask_more,
    gather_rows,
    prefer,
)
"""In the order of the advice that they give."""
