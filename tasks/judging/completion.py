"""One chat completion: the request, what counts as an answer, and when it is worth asking again."""

import asyncio
import json
import math
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from types import TracebackType
from typing import Any, Self

import httpx
import numpy as np
from pydantic import SecretStr

from tasks.judging.asked import Reply, Request
from tasks.judging.config import JudgeConfig

MOST_BYTES = 1 << 20
"""Largest body that is read; no judge needs a megabyte to say which answer is better."""
LONGEST_PAUSE_SECONDS = 60.0
"""Longest pause before a retry, whatever the endpoint asks for."""
_MAY_PASS = frozenset({408, 409, 425, 429})
MOST_TOKENS = 1 << 31
"""Largest count of tokens that is believed."""
MOST_QUOTED = 200
"""Characters of an endpoint's error that are kept."""


class _Fault(Exception):  # noqa: N818  # it is no error before all tries are used up
    """A try that gave no answer."""

    def __init__(
        self, words: str, *, passing: bool, pause_seconds: float | None = None, used: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__(words)
        self.passing = passing
        """Whether the same question may be answered a little later."""
        self.pause_seconds = pause_seconds
        """How long the endpoint asks to be left alone."""
        self.used = used
        """Tokens, of the question and of the answer, that are paid all the same."""


class Completions:
    """A client of `{endpoint}/chat/completions`. The key stands in its headers and nowhere else."""

    def __init__(self, config: JudgeConfig, key: SecretStr | None) -> None:
        self.config, self.key = config, key
        self._jitter = np.random.default_rng()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        limits = httpx.Limits(max_connections=config.max_parallel, max_keepalive_connections=config.max_parallel)
        self._client = httpx.AsyncClient(
            headers=headers, timeout=config.timeout_seconds, limits=limits, verify=_certificates()
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def ask(self, request: Request) -> Reply:
        """The judge's answer, or the last fault once retries are used up. Only cancelling raises."""
        began, tries = time.monotonic(), 0
        while True:
            tries += 1
            try:
                text, used = await self._try(request)
            except _Fault as fault:
                if not fault.passing or tries > self.config.retries:
                    seconds = time.monotonic() - began
                    return Reply(request.key, "failed", "", str(fault), *fault.used, seconds=seconds, tries=tries)
                await asyncio.sleep(self._pause(tries, fault))
                continue
            seconds = time.monotonic() - began
            return Reply(request.key, "answered", text, "", *used, seconds=seconds, tries=tries)

    async def _try(self, request: Request) -> tuple[str, tuple[int, int]]:
        try:
            # Beside the client's limit on each read: an endpoint that sends a byte a second must end, too.
            async with asyncio.timeout(self.config.timeout_seconds):
                status, headers, body = await self._post(_body(request, self.config.model_name or ""))
        except (TimeoutError, httpx.TimeoutException):
            raise _Fault(f"no answer within {self.config.timeout_seconds:g} s", passing=True) from None
        except httpx.HTTPError as error:
            words = self._shown(f"{type(error).__name__}: {error}")[:MOST_QUOTED]
            raise _Fault(words, passing=True) from None
        if status != 200:
            passing = status in _MAY_PASS or status >= 500
            raise _Fault(f"HTTP {status}: {self._quoted(body)}", passing=passing, pause_seconds=_asked_pause(headers))
        text, used = _read(body)
        if text is None:
            # Proxies say so in HTML and with status 200; a retry may meet the judge itself. A judge that thought, and
            # said nothing, has to be paid: asked again it would say the same, for as much again.
            is_paid = used is not None and any(used)
            words = f"no {'text in the' if is_paid else 'chat'} completion: {self._quoted(body)}"
            raise _Fault(words, passing=not is_paid, used=used or (0, 0))
        return self._shown(text), used or (request.most_input_tokens, request.max_tokens)

    async def _post(self, body: bytes) -> tuple[int, httpx.Headers, bytes]:
        url, received = f"{self.config.endpoint}/chat/completions", bytearray()
        async with self._client.stream("POST", url, content=body) as response:
            async for piece in response.aiter_bytes():
                received += piece
                if len(received) > MOST_BYTES:
                    raise _Fault(f"the answer is larger than {MOST_BYTES >> 20} MiB", passing=False)
            return response.status_code, response.headers, bytes(received)

    def _pause(self, tries: int, fault: _Fault) -> float:
        if fault.pause_seconds is not None:
            return min(fault.pause_seconds, LONGEST_PAUSE_SECONDS)
        # At random, so that questions refused together do not come back together.
        longest = min(self.config.backoff_seconds * 2.0 ** (tries - 1), LONGEST_PAUSE_SECONDS)
        return longest * float(self._jitter.uniform(0.5, 1))

    def _quoted(self, body: bytes) -> str:
        return self._shown(body.decode("utf-8", "replace"))[:MOST_QUOTED]

    def _shown(self, text: str) -> str:
        """The text without the key, which an endpoint may echo."""
        return text if self.key is None else text.replace(self.key.get_secret_value(), "***")


@cache
def _certificates() -> ssl.SSLContext:
    # Reading them takes longer than many an answer.
    return httpx.create_ssl_context()


def _body(request: Request, model_name: str) -> bytes:
    question = request.question
    messages = [{"role": "system", "content": question.system}, {"role": "user", "content": question.user}]
    body = {"model": model_name, "messages": messages, "temperature": 0, "max_tokens": request.max_tokens}
    return json.dumps(body, ensure_ascii=False).encode()


def _read(body: bytes) -> tuple[str | None, tuple[int, int] | None]:
    """The answer, none where this is no completion, and the tokens used where the endpoint counts them."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None, None
    used = _used(document.get("usage")) if isinstance(document, dict) else None
    try:
        text = document["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        return None, used
    if not isinstance(text, str):
        return None, used
    # Half of a surrogate pair, which JSON can spell, is no text that can be stored.
    return text.encode("utf-8", "replace").decode(), used


def _used(usage: Any) -> tuple[int, int] | None:
    if not isinstance(usage, dict):
        return None
    asked, answered = usage.get("prompt_tokens"), usage.get("completion_tokens")
    # Of the type itself: true is an integer, too, and no count.
    if (
        type(asked) is int
        and type(answered) is int
        and min(asked, answered) >= 0
        and max(asked, answered) <= MOST_TOKENS
    ):
        return asked, answered
    return None


def _asked_pause(headers: httpx.Headers) -> float | None:
    """Seconds of a Retry-After, which is a number or a date."""
    value = headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            until = parsedate_to_datetime(value)
            seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
