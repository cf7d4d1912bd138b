"""The model card: facts in, a README.md in the Hugging Face format out."""

from tasks.reporting import wording
from tasks.reporting.card_header import HUB_NAME, header
from tasks.reporting.card_parts import VERDICTS, known_limits, provenance, settings, terms
from tasks.reporting.facts import Facts, dropped_by_reason
from tasks.reporting.judged_facts import GradeFacts, JudgeFacts, RateFacts
from tasks.reporting.score_facts import InstructionFacts, ScoreFacts
from tasks.reporting.source_facts import AuditFacts, SourceFacts
from tasks.reporting.tables import code_block, escape_markdown, markdown_table

# The bounds that vLLM accepts; it serves the first without being told.
_VLLM_RANKS = (16, 32, 64, 128, 256, 320, 512)

_LOAD_MODEL = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "path/to/this/model"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", device_map="auto")
"""
_LOAD_ADAPTER = """\
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

folder = "path/to/this/adapter"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoPeftModelForCausalLM.from_pretrained(folder, dtype="auto", device_map="auto")
"""
_ANSWER = """\

messages = [{"role": "user", "content": "What can you help me with?"}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
output = model.generate(**inputs.to(model.device), max_new_tokens=256)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
"""


def card(facts: Facts) -> str:
    """The whole card; everything that people or models wrote is escaped."""
    title = escape_markdown(facts.title) or "Model"
    sections = [
        ("Use", _use(facts)),
        ("Scores", _scores(facts)),
        ("Compared answers", _compared(facts)),
        ("Training data", _data(facts)),
        ("Training", settings(facts.training, facts.seconds, facts.cost) if facts.training else ""),
        ("Known limits", known_limits(facts.limits)),
        ("Licences", terms(facts.licences)),
        ("Provenance", provenance(facts.stages, facts.lineage, facts.command, facts.recipe)),
    ]
    body = "\n\n".join(f"## {name}\n\n{text}" for name, text in sections if text)
    return f"---\n{header(facts)}---\n\n# {title}\n\n{_summary(facts)}\n\n{body}\n"


def _summary(facts: Facts) -> str:
    noun = "fine-tuned model" if facts.weights == "model" else "fine-tuned adapter"
    version = f", version {escape_markdown(facts.outcome.published)}" if facts.outcome.published is not None else ""
    reason = escape_markdown(facts.outcome.reason)
    return (
        f"A {noun} on top of {escape_markdown(facts.base_model)}{version}, made {facts.made_at_utc}.\n\n"
        f"Its evaluation {VERDICTS[facts.outcome.verdict]}: {reason}"
    )


def _use(facts: Facts) -> str:
    load = _LOAD_MODEL if facts.weights == "model" else _LOAD_ADAPTER
    return f"With transformers:\n\n{code_block(load + _ANSWER, 'python')}\n\nWith vLLM:\n\n{_serve(facts)}"


def _serve(facts: Facts) -> str:
    if facts.weights == "model":
        return code_block("vllm serve path/to/this/model", "bash")
    rank = facts.training.settings.get("rank") if facts.training else None
    bound = f" --max-lora-rank {_bound(rank)}" if isinstance(rank, int) and rank > _VLLM_RANKS[0] else ""
    base = facts.base_model if HUB_NAME.fullmatch(facts.base_model) else "path/to/the/base/model"
    return code_block(f"vllm serve {base} --enable-lora --lora-modules tuned=path/to/this/adapter{bound}", "bash")


def _bound(rank: int) -> int:
    return next((allowed for allowed in _VLLM_RANKS if allowed >= rank), rank)


def _scores(facts: Facts) -> str:
    if not facts.scores:
        return "Nothing was measured."
    told = "Change is tuned minus base on the same items, with its interval."
    base, production = ([s for s in facts.scores if s.against == side] for side in ("base", "production"))
    parts = [markdown_table([_score_row(score, "Base") for score in base]), told] if base else []
    if production:
        table = markdown_table([_score_row(score, "Production") for score in production])
        parts.append(f"Against the model that was in production then:\n\n{table}")
    parts += [_followed(each) for each in facts.instructions]
    return "\n\n".join(parts)


def _followed(facts: InstructionFacts) -> str:
    rows = [
        {"Share of": row.name, "Base": wording.score(row.base, "%"), "Tuned": wording.score(row.tuned, "%")}
        for row in facts.accuracies
    ]
    lost = [f"{kind.name} {kind.base:,} → {kind.tuned:,} of {kind.asked:,}" for kind in facts.lost]
    worst = f"\n\nLost most, to the letter: {escape_markdown(', '.join(lost))}." if lost else ""
    return (
        f"Instructions followed in {escape_markdown(facts.benchmark)} ({facts.instructions:,} in {facts.prompts:,} "
        f"prompts):\n\n{markdown_table(rows)}{worst}"
    )


def _score_row(score: ScoreFacts, other: str) -> dict[str, object]:
    span = wording.interval(score.low, score.high, score.unit)
    return {
        "Score": score.name,
        "Kind": f"{score.kind}, {score.better} is better",
        other: wording.score(score.base, score.unit),
        "Tuned": wording.score(score.tuned, score.unit),
        "Change": wording.change(score.difference, score.unit) + (f" ({span})" if span else ""),
        "Items": score.items,
        "Smallest drop that would show": _points(score.smallest_visible),
        "Gate": score.verdict or "not gated",
        "Note": score.note,
    }


def _points(drop: float | None) -> str:
    return f"{drop:.1f} points" if drop is not None else ""


def _compared(facts: Facts) -> str:
    """What a judge and people preferred; a void judgement is told as one, without its figures."""
    rows = [_judge_row(judge) for judge in facts.judge if not judge.void]
    parts = [markdown_table(rows)] if rows else []
    grades = [_grade_row(judge.judge, grade) for judge in facts.judge for grade in judge.grades]
    parts += [f"Grades of single answers, from 1 to 10:\n\n{markdown_table(grades)}"] if grades else []
    parts += [
        f"The judgement by {escape_markdown(judge.judge)} against {escape_markdown(judge.opponent)} is void: "
        f"{escape_markdown('; '.join(judge.void))}."
        for judge in facts.judge
        if judge.void
    ]
    if facts.ratings:
        base, tuned = facts.ratings.base, facts.ratings.tuned
        parts.append(
            f"People ({len(facts.ratings.raters)}) rated the answers to {facts.ratings.items} prompts from 1 to 5: "
            f"base {base.mean:.2f} (standard deviation {base.deviation:.2f}), "
            f"tuned {tuned.mean:.2f} ({tuned.deviation:.2f})."
        )
    return "\n\n".join(parts)


def _judge_row(judge: JudgeFacts) -> dict[str, object]:
    return {
        "Judge": judge.judge,
        "Against": judge.opponent,
        "Prompts": judge.prompts,
        "Tuned wins": _rate(judge.win_rate),
        "The same, length controlled": _rate(judge.length_controlled),
    }


def _grade_row(judge: str, grade: GradeFacts) -> dict[str, object]:
    return {
        "Judge": judge,
        "Model": grade.model,
        "Mean": f"{grade.mean:.2f} ({grade.low:.2f} to {grade.high:.2f})",
        "1st turn": _grade(grade.turn_1),
        "2nd turn": _grade(grade.turn_2),
        "Prompts": grade.prompts,
    }


def _grade(mean: float | None) -> str:
    return "" if mean is None else f"{mean:.2f}"


def _rate(rate: RateFacts | None) -> str:
    if rate is None:
        return ""
    return f"{wording.percentage(rate.rate)} ({wording.percentage(rate.low)} to {wording.percentage(rate.high)})"


def _data(facts: Facts) -> str:
    if not facts.sources:
        return ""
    table = markdown_table([_source_row(source) for source in facts.sources])
    lost = [{"Dropped because": wording.words(r), "Rows": n} for r, n in dropped_by_reason(facts.sources)]
    parts = [table, *([markdown_table(lost)] if lost else [])]
    if facts.audits:
        audits = markdown_table([_audit_row(audit) for audit in facts.audits])
        parts.append(f"What the rows were like before any was dropped:\n\n{audits}")
    return "\n\n".join(parts)


def _audit_row(audit: AuditFacts) -> dict[str, object]:
    languages = [f"{each.name} {wording.percentage(each.share)}" for each in audit.languages[:3]]
    return {
        "Source": audit.source,
        "Rows": audit.rows,
        "Duplicates": audit.duplicates,
        "Median prompt, characters": audit.prompts.median,
        "Median answer, characters": audit.answers.median,
        "Languages": ", ".join(languages),
    }


def _source_row(source: SourceFacts) -> dict[str, object]:
    return {
        "Source": source.name,
        "Role": source.role,
        "Read": source.read,
        "Malformed": source.rejected,
        "Held out": source.heldout,
        "Kept": source.kept,
        "Share": wording.percentage(source.achieved_share),
        "Seen": f"{wording.number(source.epochs)}×",
        "Trained tokens": source.trainable_tokens,
    }


def _training(facts: Facts) -> str:
    training = facts.training
    if training is None:
        return ""
    settings = {
        "method": training.method,
        "device": training.device,
        "parameters": training.parameters,
        "trained parameters": training.trainable_parameters,
        "tokens seen": training.tokens,
        "tokens a second": training.tokens_per_second,
        **{wording.words(name): item for name, item in training.settings.items()},
        "time of the whole run": wording.duration(facts.seconds),
        "cost": facts.cost or None,
    }
    return markdown_table([{"Setting": name, "Value": wording.value(item)} for name, item in settings.items()])
