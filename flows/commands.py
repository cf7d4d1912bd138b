"""What each `fettle` command does: results go to standard output, progress to standard error."""

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from flows import terminal
from flows.certificate import certify, names_row
from flows.certificate_page import show_certificate, show_row_changes
from flows.cli import BAD_USAGE, DONE, REFUSED
from flows.finetune import RefusedError, Result, finetune
from flows.forecast import Forecast, require_sound
from flows.forecast_shown import show_forecast
from flows.joining import take_part_in
from flows.planning import Step, foretell
from flows.presets import preset_names
from flows.recipe import Recipe, RecipeError, find_inputs, load_recipe
from flows.row_changes import row_changes
from flows.server import Server, ServerError
from flows.tokens_shown import show_tokens, tokens_of
from tasks.artifacts import registry, runs
from tasks.artifacts.errors import StoreError
from tasks.artifacts.lineage import differences, tree
from tasks.artifacts.store import Store
from tasks.artifacts.sweeping import Garbage, find_garbage, remove
from tasks.caching import watched_by


def run(options: argparse.Namespace) -> int:
    """Run a recipe; a refusal by the gate is a result too, with its own exit code."""
    recipe = load_recipe(options.recipe, options.set)
    result, refusal = execute(recipe, options)
    store = Store(options.store)
    if options.json:
        terminal.answer({**result.model_dump(), "refused": refusal, "report": report_location(store, result)})
    else:
        terminal.console.print()
        terminal.show_table(score_rows(store, result))
        terminal.console.print()
        print_outcome(recipe, store, result, refusal)
    return REFUSED if refusal else DONE


def join(options: argparse.Namespace) -> int:
    """Lend this machine to a training that `fettle run` does on another one."""
    recipe = load_recipe(options.recipe, options.set)
    trained = take_part_in(recipe, Store(options.store), options.node_rank, _line)
    if options.json:
        terminal.answer({"training": trained})
    else:
        terminal.console.print(f"trained  {trained}", markup=False)
    return DONE


def _line(text: str) -> None:
    terminal.errors.print(text, markup=False)


def execute(recipe: Recipe, options: argparse.Namespace) -> tuple[Result, str | None]:
    """Run the pipeline as a flow, with progress; gives the result, and why the gate refused if it did."""
    require_sound(recipe)
    options.ready()
    with terminal.Board(quiet=options.json) as board, watched_by(board):
        try:
            return finetune(recipe, options.store), None
        except RefusedError as refusal:
            return refusal.result, str(refusal)


def score_rows(store: Store, result: Result) -> list[dict[str, object]]:
    """Base against tuned, a row a measure."""
    gates = json.loads(store.read_file(result.evaluation, "gates.json"))
    return [
        {
            "measure": score["name"],
            "base": score["base"],
            "tuned": score["tuned"],
            "change": score["difference"],
            "unit": score["unit"],
            "items": score["items"],
            "verdict": score["verdict"] or "–",
        }
        for score in gates["scores"]
    ]


def print_outcome(recipe: Recipe, store: Store, result: Result, refusal: str | None) -> None:
    """The gate's word, and where everything lies."""
    style = "green" if refusal is None else "red"
    terminal.console.print(f"gate     [{style}]{result.verdict}[/]  ", end="")
    terminal.console.print(result.reason, markup=False)
    where = f"{store.uri}/{registry.version_folder(recipe.name, result.version)}" if result.version else "nothing"
    terminal.console.print(f"model    {where}", markup=False)
    terminal.console.print(f"report   {report_location(store, result)}", markup=False)
    terminal.console.print(f"run      {result.run}   (fettle show {result.run})", markup=False)


def report_location(store: Store, result: Result) -> str:
    """Where the report page lies."""
    manifest = store.manifest(result.publication)
    return f"{store.uri}/{result.publication}/{manifest.files['report.html'].path}"


def plan(options: argparse.Namespace) -> int:
    """Tell what a run would do."""
    recipe = load_recipe(options.recipe, options.set)
    store = Store(options.store)
    store.probe()
    steps = foretell(recipe, find_inputs(recipe, to_run=False), store, exact=options.exact)
    (training,) = (step.training for step in steps if step.training is not None)
    if options.json:
        terminal.answer([step.model_dump() for step in steps])
        return _budget_code(training)
    terminal.show_table([_plan_row(step) for step in steps])
    for step in steps:
        for warning in step.warnings:
            terminal.console.print(f"warning  {step.verb}: {warning}", style="yellow", markup=False)
    show_forecast(training, recipe.training)
    if training.refused:
        terminal.errors.print(f"refused: training would take {training.over_budget}", markup=False)
    return _budget_code(training)


def _budget_code(training: Forecast) -> int:
    return BAD_USAGE if training.refused else DONE


def _plan_row(step: Step) -> dict[str, object]:
    status = "computed now" if step.done_now else step.status
    last = f"{step.seconds:.1f} s" if step.seconds is not None else ""
    rows = f"{step.counts.read:,} → {step.counts.kept:,}" if step.counts else ""
    return {"stage": step.verb, "status": status, "took": last, "rows": rows, "why": "; ".join(step.why)}


def show(options: argparse.Namespace) -> int:
    """Show the latest runs, one run or artifact with its lineage, or a row's whole way through a run."""
    store = Store(options.store)
    if options.what is None:
        if options.tokens:
            raise RecipeError("--tokens shows one row; name it by its id, source:line or file:line")
        return _show_runs(store, options)
    run = runs.find(store, options.what)
    is_row = run is None and names_row(options.what) and not _addresses(store, options.what)
    if options.run or options.tokens or is_row:
        return _show_row(store, options)
    address = run.stages[-1].address if run and run.stages else options.what
    if run is not None and not run.stages:
        raise StoreError(f"run {run.id} made no artifact: {run.message or run.outcome}")
    node = tree(store, _address(store, address))
    if options.json:
        terminal.answer({"run": run.model_dump() if run else None, "lineage": node.model_dump(mode="json")})
        return DONE
    if run is not None:
        terminal.console.print(f"{run.recipe_name}  {run.id}  {run.outcome}  {run.message}\n", markup=False)
    terminal.show_tree(node)
    return DONE


def _show_row(store: Store, options: argparse.Namespace) -> int:
    if options.tokens:
        row = tokens_of(store, options.what, options.run)
        if options.json:
            terminal.answer(row.model_dump(mode="json"))
        else:
            show_tokens(row)
        return DONE
    certificate = certify(store, options.what, options.run)
    if options.json:
        terminal.answer(certificate.model_dump(mode="json"))
    else:
        show_certificate(certificate)
    return DONE


def _show_runs(store: Store, options: argparse.Namespace) -> int:
    latest = runs.recent(store)[:20]
    if options.json:
        terminal.answer([run.model_dump() for run in latest])
        return DONE
    if not latest:
        terminal.console.print(f"no runs in {store.uri}", markup=False)
        return DONE
    terminal.show_table(
        [
            {
                "run": r.id,
                "recipe": r.recipe_name,
                "outcome": r.outcome,
                "seconds": r.seconds,
                "message": r.message[:80],
            }
            for r in latest
        ]
    )
    return DONE


def _addresses(store: Store, text: str) -> list[str]:
    return [each for each in store.addresses() if each.startswith(text) or each.split("/")[1].startswith(text)]


def _address(store: Store, text: str) -> str:
    """An artifact's address from an address, or the beginning of a fingerprint or address."""
    matches = _addresses(store, text)
    if len(matches) != 1:
        found = "nothing" if not matches else f"{len(matches)} artifacts"
        raise RecipeError(f"{text} names {found} in {store.uri}; give a run id (`fettle show`) or stage/fingerprint")
    return matches[0]


def diff(options: argparse.Namespace) -> int:
    """Compare two runs stage by stage and row by row, or two artifacts."""
    store = Store(options.store)
    fields: list[dict[str, Any]] = []
    for stage, before, after in _pairs(store, options.before, options.after):
        fields += [
            {"stage": stage, "field": change.place, "before": change.before, "after": change.after}
            for change in differences(store.manifest(before), store.manifest(after))
        ]
    was, now = runs.find(store, options.before), runs.find(store, options.after)
    rows = row_changes(store, was, now, options.rows) if was and now else None
    if options.json:
        terminal.answer({"fields": fields, "rows": rows.model_dump(mode="json") if rows else None})
        return DONE
    if fields:
        terminal.show_table([{key: _short(value) for key, value in row.items()} for row in fields])
    else:
        terminal.console.print("no difference")
    if rows and fields:
        show_row_changes(rows)
    return DONE


def _pairs(store: Store, before: str, after: str) -> list[tuple[str, str, str]]:
    runs_found = runs.find(store, before), runs.find(store, after)
    if runs_found[0] is None or runs_found[1] is None:
        return [("", _address(store, before), _address(store, after))]
    return [
        (left.verb, left.address, right.address)
        for left, right in zip(runs_found[0].stages, runs_found[1].stages, strict=False)
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:197]}…"


def models(options: argparse.Namespace) -> int:
    """List published models with their versions and aliases."""
    store = Store(options.store)
    rows = []
    for version in registry.versions(store, options.name):
        names = [alias for alias, number in registry.aliases(store, version.model).items() if number == version.version]
        rows.append(
            {
                "model": version.model,
                "version": version.version,
                "alias": ", ".join(sorted(names)),
                "verdict": version.verdict,
                "published": version.at,
                "folder": f"{store.uri}/{version.folder}",
            }
        )
    if options.json:
        terminal.answer(rows)
    elif rows:
        terminal.show_table(rows)
    else:
        terminal.console.print(f"no published model in {store.uri}", markup=False)
    return DONE


def gc(options: argparse.Namespace) -> int:
    """Remove garbage, or list it."""
    store = Store(options.store)
    if options.remove:
        garbage = [Garbage(path=options.remove.strip("/"), bytes=0, why="named on the command line")]
        if garbage[0].path.count("/") != 1 or garbage[0].path.split("/")[0] in (registry.FOLDER, runs.FOLDER):
            raise RecipeError(f"--remove {options.remove}: give one artifact as stage/fingerprint")
    else:
        older_than_seconds = None if options.older_than is None else 3600 * options.older_than
        garbage = find_garbage(store, keep_runs=options.keep_runs, older_than_seconds=older_than_seconds)
    freed = sum(item.bytes for item in garbage) if options.dry_run else remove(store, garbage)
    if options.json:
        terminal.answer({"dry_run": options.dry_run, "bytes": freed, "garbage": [g.model_dump() for g in garbage]})
        return DONE
    if garbage:
        terminal.show_table([{"path": item.path, "bytes": item.bytes, "why": item.why} for item in garbage])
    verb = "would free" if options.dry_run else "freed"
    terminal.console.print(f"{verb} {freed:,} bytes in {len(garbage)} places", markup=False)
    return DONE


def demo(options: argparse.Namespace) -> int:
    """Make the demo's data, run its recipe, and tell the story."""
    from flows.demo import story

    return story.tell(options)


def up(options: argparse.Namespace) -> int:
    """Serve Prefect's UI over Fettle's own database until Ctrl-C."""
    server = Server(options.port, ui=True)
    try:
        server.wait()
        terminal.console.print(f"Prefect UI   {server.address}", markup=False)
        terminal.console.print(f"watch runs   export PREFECT_API_URL={server.address}/api", markup=False)
        terminal.console.print("Ctrl-C ends it.", markup=False)
        # A shell starts background jobs deaf to Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        while not server.has_ended:
            time.sleep(0.5)
        raise ServerError(f"the server ended by itself; see {server.log}")
    except KeyboardInterrupt:
        return DONE
    finally:
        server.stop()


def schema(options: argparse.Namespace) -> int:
    """Print the JSON schema of a recipe."""
    del options
    sys.stdout.write(recipe_schema())
    return DONE


def recipe_schema() -> str:
    """The schema, as it is committed; a preset is no part of a recipe, but of the file that it is written in."""
    schema = Recipe.model_json_schema()
    preset = {"description": "Settings of a scale, below what the recipe itself says.", "enum": preset_names()}
    schema["properties"] = {"preset": preset, **schema["properties"]}
    return json.dumps(schema, indent=1) + "\n"


def schema_path() -> Path:
    """Where the committed schema lies in a checkout."""
    return Path(__file__).resolve().parents[1] / "deployments" / "recipe.schema.json"
