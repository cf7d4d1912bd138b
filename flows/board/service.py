"""The board's pages over HTTP. They run no script, ask for nothing elsewhere, and change nothing."""

import base64
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import ip_address

from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from flows.board.from_models import Models
from flows.board.from_runs import of_runs
from flows.board.metrics import Exposition, Samples
from flows.board.records import Records
from flows.board.sources import PATIENCE_SECONDS, Source, gather
from flows.runs_over_time import History
from flows.server import CLIENT_WORDS
from tasks.artifacts.errors import StoreError
from tasks.artifacts.runs import Run
from tasks.artifacts.store import Store
from tasks.reporting.over_time import render_over_time

MOST_RUNS = 100
"""On the history page, the newest ones."""
REPORT = "report.html"
_RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4,32}", re.ASCII)

HEADERS = {
    # Reports are made of training data: whatever slips into one, it is shown and does nothing.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; sandbox allow-same-origin"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Handler = Callable[[Request], Awaitable[Response]]


class Board:
    """What the board shows of a store, and of the Prefect server that `PREFECT_API_URL` names."""

    def __init__(self, store: Store, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.store = store
        self.records, self.history = Records(store), History(store)
        self.sources = [Source("store", self._of_store)]
        if os.environ.get("PREFECT_API_URL"):
            self.sources.append(Source("prefect", _of_prefect))
        self.exposition = Exposition(lambda: gather(self.sources, patience_seconds))
        self._models = Models(store)

    def _of_store(self, samples: Samples) -> None:
        of_runs(self.records, samples)
        self._models.samples(samples)

    def page(self, recipe: str | None) -> str:
        """The history of all recipes or one, as HTML."""
        found = [run for run in self.records.listed() if recipe in (None, run.recipe_name)]
        facts = self.history.facts(found, MOST_RUNS)
        linked = {run.id: f"reports/{run.id}" for run in found if _published(run) and _RUN_ID.fullmatch(run.id)}
        shown = [each.model_copy(update={"report": linked.get(each.run, "")}) for each in facts]
        return render_over_time(shown, linked=True)

    def report(self, run_id: str) -> bytes | str:
        """A run's report page, or in words why there is none."""
        # The id is compared with those of the records and never becomes a path.
        found = [run for run in self.records.listed() if run.id == run_id and _RUN_ID.fullmatch(run_id)]
        if len(found) != 1:
            return f"There is no run {run_id!r} in this store; /history lists those that there are."
        address = _published(found[0])
        manifest = self.store.find_manifest(address) if address else None
        if manifest is None or REPORT not in manifest.files:
            why = f": {found[0].message}" if found[0].message else ""
            return f"The run {run_id} is {found[0].outcome} and has no report{why}"
        return self.store.read_part(manifest.identity.address, manifest.files[REPORT])


def _of_prefect(samples: Samples) -> None:
    from flows.board.from_prefect import of_prefect  # prefect takes seconds to import

    of_prefect(samples)


def _published(run: Run) -> str | None:
    return next((stage.address for stage in reversed(run.stages) if stage.verb == "publish"), None)


def service(board: Board, host: str, words: str | None = None) -> Starlette:
    """The application.

    With `words` (`user:password`) history and reports are for those who say them; metrics and health hold no data.
    """

    async def history(request: Request) -> Response:
        text = await run_in_threadpool(board.page, request.query_params.get("recipe"))
        return Response(text, media_type="text/html", headers=HEADERS)

    async def report(request: Request) -> Response:
        found = await run_in_threadpool(board.report, request.path_params["run"])
        if isinstance(found, str):
            return _plain(found, 404)
        return Response(found, media_type="text/html", headers=HEADERS)

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        text = await run_in_threadpool(encode, board.exposition.registry)
        return Response(text, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return Starlette(
        routes=[
            Route("/", _to_history),
            Route("/healthz", _healthy),
            Route("/metrics", metrics),
            Route("/history", _answering(_guarded(history, words))),
            Route("/reports/{run}", _answering(_guarded(report, words))),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_hosts(host))],
        lifespan=_begun(board),
    )


async def _to_history(_request: Request) -> Response:
    return RedirectResponse("history")


async def _healthy(_request: Request) -> Response:
    return _plain("ok", 200)


def _plain(text: str, status: int, **headers: str) -> Response:
    return PlainTextResponse(text + "\n", status, headers=HEADERS | headers)


def _answering(handler: Handler) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except StoreError as error:
            return _plain(str(error), 503)

    return answer


def _guarded(handler: Handler, words: str | None) -> Handler:
    if not words:
        return handler
    expected = b"Basic " + base64.b64encode(words.encode())

    async def guard(request: Request) -> Response:
        said = request.headers.get("authorization", "").encode()
        if not secrets.compare_digest(said, expected):
            challenge = {"WWW-Authenticate": 'Basic realm="fettle", charset="UTF-8"'}
            return _plain(f"This page is for those who know the words in {CLIENT_WORDS}.", 401, **challenge)
        return await handler(request)

    return guard


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hosts(host: str) -> list[str]:
    # A page elsewhere may give its own name our address, and then read what we answer.
    return ["localhost", "127.0.0.1", "::1", "[::1]", host] if is_loopback(host) else ["*"]


def _begun(board: Board) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        for source in board.sources:  # so that the first scrape finds everything read
            source.begin()
        yield

    return lifespan
