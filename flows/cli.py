"""The `fettle` command. Exit codes: 0 done, 1 failed, 2 bad recipe or usage, 3 the gate refused to publish."""

import argparse
import atexit
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

DONE, FAILED, BAD_USAGE, REFUSED = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code, and says every error in words."""
    options = _parser().parse_args(arguments)
    try:
        _settle(options)
        return _dispatch(options)
    except KeyboardInterrupt:
        return _fail(options, FAILED, "stopped; finished stages are kept, run the same command again to go on")
    except BrokenPipeError:
        # Somebody closed our output, as `| head` does: nothing is wrong, and nothing can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        if options.debug:
            raise
        return _fail(options, *_explained(error))


def entry() -> NoReturn:
    """`main` as a whole process."""
    code: list[int] = []
    # What is registered first is called last, when all others have tidied up.
    atexit.register(_leave, code)
    code.append(main())
    sys.exit(code[0])


def _leave(code: list[int]) -> None:
    """End without the interpreter's own clean-up: a thread of pyarrow's that lets go of a Python file in its course
    aborts the process, and the exit code is lost."""
    if not code:
        return
    logging.shutdown()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code[0])


def _dispatch(options: argparse.Namespace) -> int:
    with prefect_api(options) if options.command in ("run", "classify", "demo", "evaluate") else nullcontext():
        from flows.commands import command

        return command(options.command)(options)


def _settle(options: argparse.Namespace) -> None:
    """Settings that must stand before prefect is imported."""
    from flows.server import QUIET, home

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("PREFECT_API_URL"):
        # Fettle's own profile and database, never the user's.
        profile = home() / "prefect"
        profile.mkdir(parents=True, exist_ok=True)
        os.environ["PREFECT_HOME"] = str(profile)
    if not options.debug:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_number: int, _frame: Any) -> None:
    # A polite kill ends a run as Ctrl-C does: the trainer is stopped and attempts are cleaned up.
    raise KeyboardInterrupt


@contextmanager
def prefect_api(options: argparse.Namespace) -> Iterator[None]:
    """The API that `PREFECT_API_URL` names, else a server of our own; `options.ready()` returns when it answers.

    The server starts while prefect is imported and the data are found: a first start takes seconds.
    """
    from flows.server import Server, require_answer

    if os.environ.get("PREFECT_API_URL"):
        require_answer(os.environ["PREFECT_API_URL"])
        options.ready = lambda: None
        yield
        return

    server = Server()
    try:
        os.environ.update(server.client_settings)
        options.ready = server.wait
        try:
            yield
        finally:
            _send_last_words()
    finally:
        server.stop()
        del os.environ["PREFECT_API_URL"]


def _send_last_words() -> None:
    # Logs and events travel in the background; a server that is gone would never get the last of them.
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()
    EventsWorker.drain_all(timeout=5)


def _explained(error: Exception) -> tuple[int, str]:
    """Exit code and words for an error; a name is put before those that nobody planned for."""
    from flows.errors import RecipeError, RefusedError
    from tasks.artifacts.resource import ResourceError
    from tasks.gate_record import GateRefusedError

    if isinstance(error, RefusedError | GateRefusedError):
        return REFUSED, str(error)
    if isinstance(error, RecipeError | ResourceError):
        return BAD_USAGE, str(error)
    if type(error).__module__.split(".")[0] in ("tasks", "flows", "deployments"):
        return FAILED, str(error)
    words = str(error).strip() or "no further words"
    return FAILED, f"{type(error).__name__}: {words}\nRun again with --debug for the whole trace."


def _fail(options: argparse.Namespace, code: int, message: str) -> int:
    label = "refused" if code == REFUSED else "error"
    # Where nobody can be told any more, the exit code still can.
    with suppress(OSError):
        if options.json:
            print(json.dumps({"error": message, "exit_code": code}), flush=True)
        print(f"{label}: {message}", file=sys.stderr)
    return code


def _shared(**default: Any) -> argparse.ArgumentParser:
    """What every command takes. Below another parser `default` is suppressed, or it would undo what that one heard."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print the result as JSON", **default)
    shared.add_argument("--debug", action="store_true", help="show logs and traces", **default)
    shared.add_argument(
        "--store",
        metavar="URI",
        help="folder or s3://bucket/prefix of the artifacts (default: $FETTLE_STORE, else ./fettle-store)",
        **({"default": os.environ.get("FETTLE_STORE") or "fettle-store"} | default),
    )
    return shared


def _parser() -> argparse.ArgumentParser:
    shared = _shared()
    recipe = argparse.ArgumentParser(add_help=False)
    recipe.add_argument("recipe", type=Path, help="YAML file")
    recipe.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="override a field: training.learning_rate=1e-5",
    )
    parser = argparse.ArgumentParser(prog="fettle", description="Fine-tuning that a team can trust every week.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = commands.add_parser
    run = add("run", parents=[recipe, shared], help="run a recipe to a published model")
    run.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="FIELD=A,B,…",
        help="compare values in one table and publish nothing: training.method=full,lora",
    )
    _add_classify(add, shared)
    join = add("join", parents=[recipe, shared], help="lend this machine to a training that another one runs")
    join.add_argument(
        "--node-rank",
        type=_rank,
        required=True,
        metavar="N",
        help="which machine this is: 1 or more; 0 runs the recipe",
    )
    plan = add("plan", parents=[recipe, shared], help="tell what a run would do, and why")
    plan.add_argument("--exact", action="store_true", help="compute the data stages now, so that nothing stays open")
    evaluate = add("evaluate", parents=[recipe, shared], help="measure and judge a recipe's model; publish nothing")
    evaluate.add_argument("--until-decided", action="store_true", help="draw more items where too few left a case open")
    report = add("report", parents=[shared], help="write a run's report, with all that people rated since")
    report.add_argument("run", nargs="?", help="run id (the latest); with --over-time a recipe's name (all)")
    report.add_argument("--over-time", action="store_true", help="compare the runs instead, one row each")
    report.add_argument("--output", type=Path, metavar="FILE", help="where the page goes (report-RUN.html)")
    rate = add("rate", parents=[shared], help="rate a run's answers from 1 to 5 on a sheet that hides whose they are")
    rate.add_argument("run", nargs="?", help="run id (the latest)")
    rate.add_argument("--sheet", type=Path, metavar="CSV", help="the sheet: written, or with --rater read")
    rate.add_argument("--rater", metavar="NAME", help="whose ratings the filled-in sheet holds")
    show = add("show", parents=[shared], help="show a run or an artifact with all it came from, or a row's whole way")
    show.add_argument(
        "what",
        nargs="?",
        help="run id, artifact address, row id or its beginning, source:line or file:line; the latest runs if left out",
    )
    show.add_argument("--run", metavar="ID", help="the run whose row to show (the newest that holds it)")
    show.add_argument("--tokens", action="store_true", help="show a row's tokens and which of them are trained")
    diff = add(
        "diff", parents=[shared], help="compare two runs or artifacts: fields, counts, rows that entered or left"
    )
    diff.add_argument("before", metavar="A")
    diff.add_argument("after", metavar="B")
    diff.add_argument(
        "--rows", type=_count, default=0, metavar="N", help="list so many rows that entered or left training (0)"
    )
    _add_models(add("models", parents=[shared], help="list the published models; promote, roll back, approve, reject"))
    gc = add("gc", parents=[shared], help="remove what crashed runs left and what nothing needs")
    gc.add_argument("--dry-run", action="store_true", help="only list it")
    gc.add_argument("--keep-runs", type=_count, default=10, metavar="N", help="newest runs of each recipe to keep (10)")
    gc.add_argument(
        "--older-than",
        type=_hours,
        metavar="HOURS",
        help="leave alone what is younger than this (6; checkpoints of unfinished trainings 168)",
    )
    gc.add_argument("--remove", metavar="ARTIFACT", help="remove one artifact, as a corrupt one")
    demo = add("demo", parents=[shared], help="the whole pipeline on made data: a fintech assistant")
    demo.add_argument("--folder", type=Path, default=Path("build/demo"), help="where the data goes (build/demo)")
    demo.add_argument("--preset", choices=["demo", "forgetful"], default="demo", help="which recipe to run")
    _add_serving(add, shared)
    schema = add("schema", parents=[shared], help="print the JSON schema of a recipe")
    schema.add_argument("--kind", choices=["classification"], help="of a recipe of this kind (instruction data)")
    return parser


def _add_classify(add: Callable[..., argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    parser = add("classify", parents=[shared], help="from a file of labelled texts to a published classifier")
    parser.add_argument("files", nargs="+", metavar="FILE", help="CSV, JSONL, JSON or Parquet, or s3://…")
    parser.add_argument("--name", metavar="NAME", help="what the model is called (the first file's name)")
    parser.add_argument("--text", metavar="FIELD", help="field of the text (recognised)")
    parser.add_argument("--label", metavar="FIELD", help="field of the label (recognised)")
    parser.add_argument("--base-model", metavar="MODEL", help="folder or Hub name (a small encoder is made here)")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="where the recipe is written (NAME.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override a recipe's field")


def _add_serving(add: Callable[..., argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    recipes = argparse.ArgumentParser(add_help=False)
    recipes.add_argument("recipes", nargs="*", type=Path, metavar="RECIPE", help="YAML files that get a retrain each")
    up = add("up", parents=[recipes, shared], help="run it all on this machine until Ctrl-C: UI, workers, history")
    up.add_argument("--port", type=_port, default=4200, help="where Prefect's UI is served (4200)")
    deploy = add("deploy", parents=[recipes, shared], help="set up the Prefect server that PREFECT_API_URL names")
    deploy.add_argument("--cron", metavar="FIELDS", help="when the recipes retrain if data changed: '0 3 * * *'")
    deploy.add_argument("--timezone", default="UTC", metavar="ZONE", help="where that is told: Europe/Berlin (UTC)")
    deploy.add_argument(
        "--webhook",
        action=argparse.BooleanOptionalAction,
        help="tell failures and late schedules to $FETTLE_WEBHOOK_URL (if that is set)",
    )
    for kind, doing in (("gpu", "train or measure"), ("cpu", "do neither")):
        deploy.add_argument(
            f"--{kind}-slots", type=_slots, metavar="N", help=f"most runs at once that {doing} (as it is)"
        )
    history = add("history", parents=[shared], help="list all runs with what they came to")
    history.add_argument("--html", type=Path, metavar="FILE", help="write them as a page")
    board = add("board", parents=[shared], help="serve run history, reports and Prometheus metrics until Ctrl-C")
    board.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where it listens (127.0.0.1)")
    for parser, option in ((up, "--board-port"), (board, "--port")):
        parser.add_argument(option, type=_port, default=4201, help="where history and metrics are served (4201)")


def _add_models(models: argparse.ArgumentParser) -> None:
    verbs = models.add_subparsers(dest="verb", metavar="VERB")
    models.set_defaults(verb="list", name=None)
    shared = _shared(default=argparse.SUPPRESS)
    listing = verbs.add_parser("list", parents=[shared], help="versions, what points to them, and how they stand")
    listing.add_argument("name", metavar="NAME", nargs="?", help="one model only")
    promote = verbs.add_parser("promote", parents=[shared], help="let an alias point to a version that passed")
    rollback = verbs.add_parser("rollback", parents=[shared], help="let an alias point to the version before")
    approve = verbs.add_parser("approve", parents=[shared], help="say that a version may be used, as its recipe asks")
    reject = verbs.add_parser("reject", parents=[shared], help="say that a version may not be used")
    for parser in (promote, rollback, approve, reject):
        parser.add_argument("name", metavar="NAME", help="the model")
    for parser in (promote, approve, reject):
        parser.add_argument("version", metavar="VERSION", type=_version, help="its number")
    for parser in (promote, rollback):
        parser.add_argument("--alias", default="production", help="which alias moves (production)")
        parser.add_argument("--by", type=_person, metavar="WHO", help="who moves it (the user of this machine)")
        parser.add_argument("--why", default="", metavar="TEXT", help="kept in the alias's history")
    for parser, noted in ((approve, "looked at"), (reject, "found wrong")):
        parser.add_argument("--by", type=_person, required=True, metavar="WHO", help="the person who looked at it")
        parser.add_argument("--note", default="", metavar="TEXT", help=f"what the person {noted}")


def _version(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no version; give its number, 1 or more")
    return int(text)


def _person(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("give a name")
    return text.strip()


def _count(text: str) -> int:
    value = int(text) if text.isdigit() else -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 up")
    return value


def _slots(text: str) -> int:
    value = _count(text)
    if value == 0:
        raise argparse.ArgumentTypeError("0 would let nothing run; give 1 or more")
    return value


def _rank(text: str) -> int:
    value = _count(text)
    if value == 0:
        raise argparse.ArgumentTypeError("0 is the machine with `fettle run`; the others count from 1")
    return value


def _port(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port; give 1 to 65535")
    return value


def _hours(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of hours; give 0 or more")
    return value


if __name__ == "__main__":
    entry()
