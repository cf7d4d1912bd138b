"""Judge: another model compares the answers of the tuned model with those of the base, and of the one in production.

Each two answers are shown in both orders, sentinels among them; answers are kept in a book of the judge's own, so that
an interrupted judgement goes on where it stopped. A judge that fails too often, or falls for the sentinels, voids the
run: what it said is kept and shown, and no win rate is claimed.
"""

from typing import Any

from tasks.artifacts.answer_book import AnswerBook
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Attempt
from tasks.benchmarks.item import HELDOUT_ANSWERS
from tasks.caching import logger, stage
from tasks.judging import pairs as pairing
from tasks.judging import summary
from tasks.judging.asked import Judge
from tasks.judging.asking import Asking, by_key
from tasks.judging.config import JudgeConfig, JudgeError
from tasks.judging.endpoint import EndpointJudge
from tasks.judging.pairs import Prompt
from tasks.judging.results import Results, read_results
from tasks.local_judge import LocalJudge

BASE, TUNED, PRODUCTION = "base", "tuned", "production"


@stage("judgement", version=1)
def judge(
    out: Attempt,
    config: JudgeConfig,
    base: Artifact,
    tuned: Artifact,
    production: Artifact | None = None,
    judging_model: Resource | None = None,
) -> None:
    """Have a judge compare two models' answers, or three, and say how far it can be believed."""
    measured = {BASE: base, PRODUCTION: production, TUNED: tuned}
    models = {name: artifact for name, artifact in measured.items() if artifact is not None}
    found = _prompts(out, config, models)
    prompts = pairing.drawn(found, config.prompts, config.seed)
    # Sentinels first: whatever the budget reaches for, they are among it.
    tricks = pairing.sentinels(prompts, TUNED, config.sentinels, config.seed)
    pairs = [*tricks, *pairing.pairs(prompts, list(models))]
    gradings = pairing.gradings(prompts, list(models)) if config.grades else []
    requests = [request for pair in pairs if not pair.is_settled for request in pair.requests(config.max_tokens)]
    requests += [grading.request(config.max_tokens) for grading in gradings]
    asking = _asked(out, config, by_key(requests), judging_model)
    results = read_results(pairs, gradings, asking, config)
    for name, table in results.tables.items():
        out.write(name, table)
    _conclude(out, config, asking, results, list(models))
    out.counts = _counts(len(found), len(prompts), results)


def _prompts(out: Attempt, config: JudgeConfig, models: dict[str, Artifact]) -> list[Prompt]:
    columns = ["benchmark", "item_id", "prompt_sha256", "shown"]
    items = list(out.store.rows(models[BASE], "items"))
    answers = {name: list(out.store.rows(artifact, "answers", columns)) for name, artifact in models.items()}
    found = pairing.read_prompts(items, answers, config.benchmarks, HELDOUT_ANSWERS)
    if not found:
        generated = dict.fromkeys(item["benchmark"] for item in items if item["form"] == "generation")
        raise JudgeError(
            f"judge.benchmarks names {', '.join(config.benchmarks)}, and the models wrote answers to "
            f"{', '.join(generated) or 'nothing'}; name one of these, or have evaluation.samples of held-out prompts"
        )
    return found


def _asked(out: Attempt, config: JudgeConfig, requests: dict[str, Any], judging_model: Resource | None) -> Asking:
    if (config.model is None) != (judging_model is None):
        raise JudgeError("a local judge needs its files, and an endpoint has none; give judging_model with judge.model")
    content = None if judging_model is None else judging_model.content
    book = AnswerBook(out.store, config.book_key(content), logger().warning)
    asking = Asking(requests, book, config.max_unparsed, out.progress)
    asking.recall()
    if asking.is_complete:
        return asking
    asking.ask(_judge(config, asking, judging_model))
    return asking


def _judge(config: JudgeConfig, asking: Asking, judging_model: Resource | None) -> Judge:
    if judging_model is not None:
        return LocalJudge(judging_model, config.max_parallel, logger().info)
    spent = sum(config.cost(reply.input_tokens, reply.output_tokens) for reply in asking.replies.values())
    return EndpointJudge(config, config.api_key(), spent)


def _conclude(out: Attempt, config: JudgeConfig, asking: Asking, results: Results, models: list[str]) -> None:
    figures, reasons = summary.believed(config, asking, results)
    out.facts |= {"judge": config.model_name or config.model, "verdict": "void" if reasons else "judged"}
    out.facts |= {"void": reasons, **figures}
    if reasons:
        out.warn(
            f"the judgement is void: {'; '.join(reasons)}. Nothing may be read out of it. Once that is mended, remove "
            f"it with `fettle gc --remove {out.identity.address}` and run again: answers that came are not asked for "
            "again."
        )
        return
    if figures["not_asked"]:
        out.warn(
            f"judge.most_cost of {config.most_cost:g} left {figures['not_asked']} of {figures['questions']} questions "
            "unasked; raise it to compare more prompts"
        )
    out.facts |= {
        "comparisons": summary.comparisons(results.contests, models, config.seed),
        "categories": summary.categories(results.contests, TUNED, BASE, config.seed),
        "ratings": summary.ratings(results.contests, models, config.seed),
        "grades": summary.mean_grades(results.grades, models, config.seed),
    }


def _counts(found: int, drawn: int, results: Results) -> Counts:
    judged = len({(row["benchmark"], row["prompt_id"]) for row in summary.scored(results.contests)})
    dropped = {"not drawn": found - drawn, "no verdict": drawn - judged}
    return Counts(read=found, kept=judged, dropped={reason: number for reason, number in dropped.items() if number})
