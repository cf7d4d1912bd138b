"""A judge behind an OpenAI-compatible endpoint: many questions at once, retries, and a budget that holds.

The requests run on an event loop in a thread of their own, so that the caller's thread can store replies, tell its
progress, and be interrupted at any moment.
"""

import asyncio
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress

from pydantic import SecretStr

from tasks.judging.asked import Hear, Reply, Request
from tasks.judging.completion import Completions
from tasks.judging.config import JudgeConfig

POLL_SECONDS = 0.5
"""How long a wait for replies may last: an exception sent to this thread is only seen between two waits."""
OVER_BUDGET = "the budget most_cost does not reach for it"

Replies = queue.SimpleQueue[Reply | BaseException | None]
"""What the loop's thread hands over; None after the last."""


class EndpointJudge:
    """Asks an endpoint, `max_parallel` questions at once, until all are answered or the budget is spent."""

    def __init__(self, config: JudgeConfig, key: SecretStr | None, spent: float = 0.0) -> None:
        self.config, self.key, self.spent = config, key, spent
        """`spent`: what earlier answers to the same judgement have cost."""
        self._reserved = 0.0

    def ask(self, requests: Sequence[Request], hear: Hear) -> None:
        """Put the requests; replies come as the endpoint gives them."""
        replies: Replies = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        asking = loop.create_task(self._ask_all(requests, replies))
        thread = threading.Thread(target=_run, args=(loop, asking, replies), name="judge", daemon=True)
        thread.start()
        try:
            while (reply := _next(replies)) is not None:
                if isinstance(reply, BaseException):
                    raise reply
                if not hear(reply):
                    return
        finally:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(asking.cancel)
            thread.join()

    async def _ask_all(self, requests: Sequence[Request], replies: Replies) -> None:
        async with Completions(self.config, self.key) as completions, asyncio.TaskGroup() as group:
            running: set[asyncio.Task[None]] = set()
            for number, request in enumerate(requests):
                while running and (len(running) >= self.config.max_parallel or not self._may_cost(request)):
                    _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                if not self._may_cost(request):
                    # Not even the shorter ones that it would reach for: prompts must not be chosen by their length.
                    for other in requests[number:]:
                        replies.put(Reply(other.key, "not asked", fault=OVER_BUDGET))
                    return
                self._reserved += self._most(request)
                running.add(group.create_task(self._ask_one(completions, request, replies)))

    async def _ask_one(self, completions: Completions, request: Request, replies: Replies) -> None:
        reply = await completions.ask(request)
        self._reserved -= self._most(request)
        self.spent += self.config.cost(reply.input_tokens, reply.output_tokens)
        replies.put(reply)

    def _most(self, request: Request) -> float:
        return self.config.cost(request.most_input_tokens, request.max_tokens)

    def _may_cost(self, request: Request) -> bool:
        most = self.config.most_cost
        return most is None or self.spent + self._reserved + self._most(request) <= most


def _run(
    loop: asyncio.AbstractEventLoop,
    asking: "asyncio.Task[None]",
    replies: Replies,
) -> None:
    try:
        loop.run_until_complete(asking)
    except asyncio.CancelledError:
        pass
    except BaseException as error:  # noqa: BLE001  # it is the caller's to see, in the caller's thread
        replies.put(error)
    finally:
        with suppress(RuntimeError):
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        replies.put(None)


def _next(replies: Replies) -> Reply | BaseException | None:
    while True:
        try:
            return replies.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
