"""A classifier's model card: facts in, a README.md in the Hugging Face format out; it holds no row of the data."""

from collections.abc import Sequence

import yaml

from tasks.reporting import wording
from tasks.reporting.card_header import HUB_NAME, stated_terms, tag
from tasks.reporting.card_parts import VERDICTS, known_limits, provenance, settings, terms
from tasks.reporting.classifier_bounds import bounded, named
from tasks.reporting.classifier_facts import ClassifierFacts, LabelFacts, LabelledAuditFacts, MeasureFacts, ScoreFacts
from tasks.reporting.classifier_score_facts import worst_first
from tasks.reporting.classifier_sentences import measured_against, rival, standing
from tasks.reporting.classifier_use import cautions, loading
from tasks.reporting.facts import dropped_by_reason
from tasks.reporting.source_facts import SourceFacts
from tasks.reporting.tables import code_block, escape_markdown, markdown_table, paragraph

MOST_LABELS = 200
"""Labels that a card lists, the worst found first."""
_METRICS = (("accuracy", "accuracy", "accuracy"), ("f1", "macro-F1", "macro_f1"), ("f1", "weighted F1", "weighted_f1"))


def card(facts: ClassifierFacts) -> str:
    """The whole card; everything that people wrote is escaped, and cut where it is too long to read."""
    told = bounded(facts)
    sections = [
        ("Use", _use(told)),
        ("Scores", _scores(told)),
        ("Labels", _labels(told)),
        ("Training data", _data(told)),
        ("Training", settings(told.training, told.seconds, told.cost) if told.training else ""),
        ("Known limits", known_limits(told.limits)),
        ("Licences", terms(told.licences)),
        ("Provenance", provenance(told.stages, told.lineage, told.command, told.recipe)),
    ]
    body = "\n\n".join(f"## {name}\n\n{text}" for name, text in sections if text)
    title = escape_markdown(told.title) or "Model"
    return f"---\n{header(told)}---\n\n# {title}\n\n{_summary(told)}\n\n{body}\n"


def header(facts: ClassifierFacts) -> str:
    """The metadata as YAML, which the Hub reads, shows and searches by."""
    kinds = ["multi-label" if facts.multi_label else "", tag(facts.training.method) if facts.training else ""]
    data: dict[str, object] = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": [each for each in ("fettle", "text-classification", "fine-tuned", *kinds) if each],
    }
    if HUB_NAME.fullmatch(facts.base_model):
        data |= {"base_model": facts.base_model, "base_model_relation": "finetune"}
    data |= stated_terms(facts.base_model, facts.licences)
    if facts.models:
        data["model-index"] = [{"name": facts.title or "model", "results": [_result(facts)]}]
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def _result(facts: ClassifierFacts) -> dict[str, object]:
    tuned = facts.models[0]
    return {
        "task": {"type": "text-classification"},
        "dataset": {"name": f"{facts.title}, test split", "type": tag(facts.title) or "test"},
        "metrics": [
            {"type": kind, "name": name, "value": round(getattr(tuned, field).value, 4)}
            for kind, name, field in _METRICS
        ],
    }


def _summary(facts: ClassifierFacts) -> str:
    origin = f"on top of {escape_markdown(facts.base_model)}" if facts.base_model else "with an encoder of its own"
    version = f", version {escape_markdown(facts.outcome.published)}" if facts.outcome.published is not None else ""
    how = "any number of" if facts.multi_label else "one of"
    pairs = "pair of texts" if facts.text_pairs else "text"
    return (
        f"A classifier {origin}{version}, made {facts.made_at_utc}. It gives each {pairs} {how} "
        f"{len(facts.labels):,} labels.\n\n"
        f"Its evaluation {VERDICTS[facts.outcome.verdict]}: {escape_markdown(facts.outcome.reason)}"
    )


def _use(facts: ClassifierFacts) -> str:
    told = [escape_markdown(each) for each in cautions(facts)]
    return "\n\n".join([code_block(loading(facts), "python"), *told])


def _scores(facts: ClassifierFacts) -> str:
    if not facts.models:
        return "Nothing was measured."
    rows = [
        {
            "Model": named(model.name),
            "Macro-F1": _measure(model.macro_f1),
            "Accuracy": _measure(model.accuracy),
            "Weighted F1": _measure(model.weighted_f1),
        }
        for model in facts.models
    ]
    counted = f"On {wording.rows(facts.models[0].rows)} that training never saw, with 95% intervals."
    parts = [markdown_table(rows), counted, _bullets(standing(facts.scores))]
    against = [_against(score) for score in measured_against(facts.scores)]
    parts += [f"Tuned minus the other, on the same rows:\n\n{markdown_table(against)}"] if against else []
    parts.append(_calibration(facts))
    return "\n\n".join(part for part in parts if part)


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {paragraph(each)}" for each in sentences)


def _measure(each: MeasureFacts) -> str:
    return f"{wording.percentage(each.value)} ({wording.percentage(each.low)} to {wording.percentage(each.high)})"


def _against(score: ScoreFacts) -> dict[str, object]:
    span = wording.interval(score.low, score.high, score.unit)
    return {
        "Against": rival(score).removeprefix("the "),
        "Measure": score.name,
        "Change": wording.change(score.difference, score.unit) + (f" ({span})" if span else ""),
        "Rows": score.items,
        "Gate": score.verdict or "not gated",
        "Note": score.note,
    }


def _calibration(facts: ClassifierFacts) -> str:
    told = facts.calibration
    if told is None:
        return ""
    return (
        f"Expected calibration error: {wording.percentage(told.ece_before)} as trained, "
        f"{wording.percentage(told.ece_after)} with temperature {wording.number(round(told.temperature, 3))}."
    )


def _labels(facts: ClassifierFacts) -> str:
    if not facts.per_label:
        return _bullets([named(label) for label in facts.labels[:MOST_LABELS]])
    ordered = worst_first(facts.per_label)
    more = len(ordered) - MOST_LABELS
    rest = f"\n\n{more:,} labels that are found better are left out." if more > 0 else ""
    return markdown_table([_label_row(each) for each in ordered[:MOST_LABELS]]) + rest


def _label_row(each: LabelFacts) -> dict[str, object]:
    span = f" ({wording.percentage(each.recall_low)} to {wording.percentage(each.recall_high)})"
    return {
        "Label": named(each.label),
        "F1": wording.percentage(each.f1),
        "Precision": wording.percentage(each.precision) if each.predicted else None,
        "Recall": wording.percentage(each.recall) + span if each.rows else None,
        "Rows": each.rows,
    }


def _data(facts: ClassifierFacts) -> str:
    parts = []
    if facts.sources:
        parts.append(markdown_table([_source_row(source) for source in facts.sources]))
        lost = [{"Dropped because": wording.words(r), "Rows": n} for r, n in dropped_by_reason(facts.sources)]
        parts += [markdown_table(lost)] if lost else []
    if facts.audits:
        audits = markdown_table([_audit_row(audit) for audit in facts.audits])
        parts.append(f"What the rows were like before any was dropped:\n\n{audits}")
    return "\n\n".join(parts)


def _source_row(source: SourceFacts) -> dict[str, object]:
    return {
        "Source": named(source.name),
        "Read": source.read,
        "Malformed": source.rejected,
        "Validation and test": source.heldout,
        "Trained on": source.kept,
    }


def _audit_row(audit: LabelledAuditFacts) -> dict[str, object]:
    return {
        "Source": named(audit.source),
        "Rows": audit.rows,
        "Text or label missing": audit.missing,
        "Contradictory": audit.contradictions,
        "Duplicates": audit.duplicates,
        "Also in train": audit.leaks,
        "Cut": audit.truncated,
        "Label unseen": audit.unseen_labels,
    }
