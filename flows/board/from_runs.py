"""Metrics of a store's runs: how they ended, what the cache had, what became of rows, scores and trainings."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from flows.board.metrics import MOST_MEASURES, MOST_REASONS, MOST_RECIPES, Samples
from flows.board.records import Course, Records
from tasks.artifacts.runs import Outcome, Run
from tasks.reporting.score_facts import Verdict

ENDINGS = [outcome for outcome in get_args(Outcome) if outcome != "running"]
VERDICTS = get_args(Verdict)
SECONDS_AN_HOUR = 3600.0


def of_runs(records: Records, samples: Samples) -> None:
    """Everything that the run records and their artifacts tell; of very many recipes those that ran last."""
    by_recipe: dict[str, list[Run]] = defaultdict(list)
    for run in records.listed():
        by_recipe[run.recipe_name].append(run)
    samples.add("fettle_recipes", len(by_recipe))
    for recipe, runs in list(by_recipe.items())[:MOST_RECIPES]:
        ended = [run for run in runs if run.outcome != "running"]
        _outcomes(samples, recipe, runs, ended)
        _stages(samples, recipe, runs)
        _rows(samples, recipe, records, runs)
        _gate(samples, recipe, records, ended)
        _training(samples, recipe, records, runs)


def _outcomes(samples: Samples, recipe: str, runs: Sequence[Run], ended: Sequence[Run]) -> None:
    for outcome in ENDINGS:
        of_it = [run for run in ended if run.outcome == outcome]
        samples.add("fettle_runs_total", len(of_it), recipe, outcome)
        if of_it:
            began = datetime.fromisoformat(of_it[0].started).timestamp()
            samples.add("fettle_last_run_timestamp_seconds", began, recipe, outcome)
    samples.add("fettle_runs_open", len(runs) - len(ended), recipe)
    samples.add("fettle_run_seconds_total", sum(run.seconds for run in ended), recipe)
    samples.add("fettle_last_run_seconds", ended[0].seconds if ended else None, recipe)


def _stages(samples: Samples, recipe: str, runs: Sequence[Run]) -> None:
    records = [record for run in runs for record in run.stages]
    times = Counter((record.stage, record.cached) for record in records)
    for stage in dict.fromkeys(record.stage for record in records):
        samples.add("fettle_stages_total", times[stage, True], recipe, stage, "hit")
        samples.add("fettle_stages_total", times[stage, False], recipe, stage, "miss")
        seconds = sum(record.seconds for record in records if record.stage == stage and not record.cached)
        samples.add("fettle_stage_seconds_total", seconds, recipe, stage)


def _last(runs: Sequence[Run], verb: str) -> tuple[Run, str] | None:
    """The newest run that came through a stage, and the stage's last artifact in it."""
    for run in runs:
        for record in reversed(run.stages):
            if record.verb == verb:
                return run, record.address
    return None


def _rows(samples: Samples, recipe: str, records: Records, runs: Sequence[Run]) -> None:
    for verb in ("ingest", "curate", "deduplicate", "mix", "tokenize"):
        last = _last(runs, verb)
        told = records.told(*last) if last else None
        if last is None or told is None:
            continue
        stage = last[1].split("/")[0]
        samples.add("fettle_rows_read", told.counts.read, recipe, stage)
        samples.add("fettle_rows_kept", told.counts.kept, recipe, stage)
        for reason, rows in _commonest(told.counts.dropped).items():
            samples.add("fettle_rows_dropped", rows, recipe, stage, reason)


def _commonest(dropped: Mapping[str, int]) -> dict[str, int]:
    ordered = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    told = dict(ordered[:MOST_REASONS])
    rest = sum(rows for _reason, rows in ordered[MOST_REASONS:])
    return told | ({"other": told.get("other", 0) + rest} if rest else {})


def _gate(samples: Samples, recipe: str, records: Records, ended: Sequence[Run]) -> None:
    found = []
    for run in ended:
        evaluated = _last([run], "evaluate")
        told = records.told(*evaluated) if evaluated else None
        if told is not None and told.facts.get("verdict") in VERDICTS:
            found.append(told.facts["verdict"])
    times = Counter(found)
    for verdict in VERDICTS:
        samples.add("fettle_gate_verdicts", times[verdict], recipe, verdict)
        if found:
            samples.add("fettle_gate_last_verdict", float(found[0] == verdict), recipe, verdict)
    last = _last(ended, "evaluate")
    if last is not None:
        _scores(samples, recipe, records.scores(last[1]))


def _scores(samples: Samples, recipe: str, rows: Sequence[Mapping[str, Any]]) -> None:
    measures = list(dict.fromkeys(row["name"] for row in rows))[:MOST_MEASURES]
    told = set()
    for row in rows:
        if row["name"] not in measures:
            continue
        unit = row["unit"]
        samples.add("fettle_score", row["base"], recipe, row["name"], row["against"], unit)
        # A classifier has no base, but several rivals, against which its own score is the same.
        if row["name"] not in told and row["against"] != "production":
            samples.add("fettle_score", row["tuned"], recipe, row["name"], "tuned", unit)
            told.add(row["name"])


def _training(samples: Samples, recipe: str, records: Records, runs: Sequence[Run]) -> None:
    last = _last(runs, "train")
    told = records.told(*last) if last else None
    if last is not None and told is not None:
        _price(samples, recipe, last[0], told.facts)
    newest = runs[0]
    trains = newest.outcome == "running" and newest.making.startswith("training/")
    so_far = records.so_far(newest.making) if trains else None
    course = so_far or (_finished(told.facts) if told else None)
    if course is not None:
        samples.add("fettle_training_under_way", float(so_far is not None), recipe)
        for name, value in course.items():
            samples.add(f"fettle_training_{name}", value, recipe)


def _price(samples: Samples, recipe: str, run: Run, facts: Mapping[str, Any]) -> None:
    hours = facts.get("device_hours")
    price = ((run.recipe.get("training") or {}).get("cost") or {}).get("price_per_device_hour")
    if hours is not None:
        samples.add("fettle_training_device_seconds", hours * SECONDS_AN_HOUR, recipe)
        samples.add("fettle_training_cost", None if price is None else hours * price, recipe)


def _finished(facts: Mapping[str, Any]) -> Course:
    return {
        "steps": facts.get("steps"),
        "loss": facts.get("last_loss"),
        "heldout_loss": facts.get("best_heldout_loss"),
        "tokens_per_second": facts.get("tokens_per_second"),
        "tokens": facts.get("tokens"),
    }
