"""The endpoint: what is asked again, what is given up, what it costs, and that the key is nowhere."""

import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.judging.asked import Reply, Request
from tasks.judging.completion import MOST_BYTES
from tasks.judging.config import JudgeConfig, JudgeError
from tasks.judging.endpoint import EndpointJudge
from tasks.judging.prompts import pairwise
from tests.servers.chat_completions import ChatServer, Fault

VERDICT = "Both are good.\n[[C]]"
KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(lambda *_: VERDICT) as made:
        yield made


def configured(server: ChatServer, **settings: Any) -> JudgeConfig:
    given = {"backoff_seconds": 0.01, "retries": 2, "timeout_seconds": 5.0, **settings}
    return JudgeConfig(endpoint=server.endpoint, model_name="judge-1", **given)


def request(number: int = 0, max_tokens: int = 64) -> Request:
    return Request(pairwise([f"Question {number}?"], ["one"], ["two"]), max_tokens)


def ask(config: JudgeConfig, requests: list[Request], spent: float = 0.0) -> list[Reply]:
    replies: list[Reply] = []
    EndpointJudge(config, config.api_key(), spent).ask(requests, lambda reply: replies.append(reply) or True)
    return replies


def test_the_request_is_a_greedy_chat_completion_of_the_named_model(server: ChatServer) -> None:
    wanted = request()
    (reply,) = ask(configured(server), [wanted])
    assert (reply.key, reply.outcome, reply.text, reply.tries) == (wanted.key, "answered", VERDICT, 1)
    (asked,) = server.requests
    assert asked.path == "/v1/chat/completions"
    assert "Authorization" not in asked.headers
    assert asked.body == {
        "model": "judge-1",
        "messages": [
            {"role": "system", "content": wanted.question.system},
            {"role": "user", "content": wanted.question.user},
        ],
        "temperature": 0,
        "max_tokens": 64,
    }
    assert reply.input_tokens == len(f"{wanted.question.system} {wanted.question.user}".split())
    assert reply.output_tokens == 4


PASSING = {
    "rate limit": Fault(status=429, headers={"Retry-After": "0"}),
    "rate limit without a time": Fault(status=429),
    "rate limit until a date": Fault(status=429, headers={"Retry-After": "Fri, 21 Nov 2025 10:00:00 GMT"}),
    "a date in a zone that is none": Fault(
        status=429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 +99999999999999"}
    ),
    "silence that is not counted": Fault(
        body=b'{"choices": [{"message": {"content": null}}], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}'
    ),
    "nonsense for a time": Fault(status=503, headers={"Retry-After": "soon"}),
    "server error": Fault(status=500, body=b"<html>oops</html>"),
    "gateway": Fault(status=502),
    "reset": Fault(reset=True),
    "a page in place of JSON": Fault(body=b"<html>Welcome to the proxy</html>"),
    "JSON of another kind": Fault(body=b'{"result": "ok"}'),
    "no choices": Fault(body=b'{"choices": []}'),
    "content of another kind": Fault(body=b'{"choices": [{"message": {"content": ["a"]}}]}'),
    "null content": Fault(body=b'{"choices": [{"message": {"content": null}}]}'),
    "a list": Fault(body=b"[]"),
    "deep JSON": Fault(body=b"[" * 100_000),
    "no UTF-8": Fault(body=b"\xff\xfe"),
    "half a gzip": Fault(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_asked_again_and_then_given_up(server: ChatServer, name: str) -> None:
    server.faults += [PASSING[name]] * 2
    (reply,) = ask(configured(server), [request()])
    assert (reply.outcome, reply.text, reply.tries) == ("answered", VERDICT, 3)
    server.faults += [PASSING[name]] * 3
    (reply,) = ask(configured(server), [request()])
    assert (reply.outcome, reply.text, reply.tries) == ("failed", "", 3)
    assert reply.fault


@pytest.mark.parametrize("fault", [Fault(seconds=30), Fault(trickle=True)], ids=["silent", "trickling"])
def test_an_endpoint_that_does_not_end_times_out(server: ChatServer, fault: Fault) -> None:
    server.faults.append(fault)
    began = time.monotonic()
    (reply,) = ask(configured(server, timeout_seconds=0.3), [request()])
    assert (reply.outcome, reply.tries) == ("answered", 2)
    server.faults.append(fault)
    (reply,) = ask(configured(server, timeout_seconds=0.3, retries=0), [request()])
    assert (reply.outcome, reply.fault) == ("failed", "no answer within 0.3 s")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 422])
def test_what_will_not_pass_is_given_up_at_once(server: ChatServer, status: int) -> None:
    server.faults.append(Fault(status=status, headers={"Location": f"{server.endpoint}/other"}))
    (reply,) = ask(configured(server), [request()])
    assert (reply.outcome, reply.tries) == ("failed", 1)
    assert reply.fault.startswith(f"HTTP {status}: ")
    assert len(server.requests) == 1


def test_an_endpoint_that_is_not_there_fails_every_question(server: ChatServer) -> None:
    config = JudgeConfig(endpoint="http://127.0.0.1:9/v1", model_name="j", retries=1, backoff_seconds=0.01)
    replies = ask(config, [request(number) for number in range(5)])
    assert [reply.outcome for reply in replies] == ["failed"] * 5
    assert all("Connect" in reply.fault and reply.tries == 2 for reply in replies)


def test_a_rate_limit_is_waited_out_as_long_as_the_endpoint_says(server: ChatServer) -> None:
    server.faults.append(Fault(status=429, headers={"Retry-After": "0.4"}))
    (reply,) = ask(configured(server), [request()])
    first, second = server.requests
    assert second.at - first.at >= 0.4
    assert reply.seconds >= 0.4


def test_a_huge_answer_is_not_read_to_its_end(server: ChatServer) -> None:
    server.faults.append(Fault(body=b'{"x": "' + b"a" * (2 * MOST_BYTES)))
    (reply,) = ask(configured(server), [request()])
    assert (reply.outcome, reply.fault) == ("failed", "the answer is larger than 1 MiB")


def test_a_long_answer_and_odd_characters_come_whole(server: ChatServer) -> None:
    text = "é漢字🙂\u0000" * 20_000 + "\n[[A]]"
    server.answer = lambda *_: text
    (reply,) = ask(configured(server), [request()])
    assert reply.text == text
    lone = json.dumps({"choices": [{"message": {"content": "\ud83d [[A]]"}}]}).encode()
    server.faults.append(Fault(body=lone))
    (reply,) = ask(configured(server), [request()])
    assert reply.text == "? [[A]]"


def test_no_more_questions_are_under_way_than_allowed(server: ChatServer) -> None:
    server.seconds = 0.05
    began = time.monotonic()
    replies = ask(configured(server, max_parallel=4), [request(number) for number in range(16)])
    assert {reply.outcome for reply in replies} == {"answered"}
    assert server.most_at_once == 4
    assert time.monotonic() - began < 16 * 0.05


PRICES = {"price_per_million_input_tokens": 1e6, "price_per_million_output_tokens": 1e6}
"""A token, a unit of money."""


def test_nothing_is_asked_that_the_budget_might_not_reach_for(server: ChatServer) -> None:
    requests = [request(number) for number in range(20)]
    most = requests[0].most_input_tokens + 64
    (reply,) = ask(configured(server), requests[:1])
    used = reply.input_tokens + reply.output_tokens
    server.requests.clear()
    config = configured(server, most_cost=most + 4 * used, max_parallel=3, **PRICES)
    replies = ask(config, requests)
    answered = [reply for reply in replies if reply.outcome == "answered"]
    assert len(answered) == len(server.requests) == 5
    assert sum(config.cost(reply.input_tokens, reply.output_tokens) for reply in answered) <= most + 4 * used
    left = [reply for reply in replies if reply.outcome == "not asked"]
    assert len(left) == 15
    assert {reply.fault for reply in left} == {"the budget most_cost does not reach for it"}


def test_what_was_spent_before_counts(server: ChatServer) -> None:
    config = configured(server, most_cost=1000, **PRICES)
    (reply,) = ask(config, [request()], spent=999)
    assert reply.outcome == "not asked"
    assert not server.requests


def test_uncounted_tokens_cost_what_was_reserved_for_them() -> None:
    with ChatServer(lambda *_: VERDICT, usage=False) as server:
        (reply,) = ask(configured(server), [request()])
    assert (reply.input_tokens, reply.output_tokens) == (request().most_input_tokens, 64)


@pytest.mark.parametrize(
    "usage",
    [
        '"many"',
        '{"prompt_tokens": -1, "completion_tokens": 1}',
        '{"prompt_tokens": 1.5}',
        "[]",
        f'{{"prompt_tokens": {10**30}, "completion_tokens": 1}}',
        '{"prompt_tokens": true, "completion_tokens": 1}',
    ],
)
def test_a_count_of_tokens_that_is_none_is_not_believed(server: ChatServer, usage: str) -> None:
    server.faults.append(Fault(body=b'{"choices": [{"message": {"content": "x"}}], "usage": %s}' % usage.encode()))
    (reply,) = ask(configured(server), [request()])
    assert (reply.outcome, reply.input_tokens) == ("answered", request().most_input_tokens)


def test_enough_replies_end_the_asking_at_once(server: ChatServer) -> None:
    server.seconds = 0.02
    heard: list[Reply] = []

    def hear(reply: Reply) -> bool:
        heard.append(reply)
        server.seconds = 30.0
        return len(heard) < 2

    config = configured(server, max_parallel=2)
    began = time.monotonic()
    EndpointJudge(config, None).ask([request(number) for number in range(50)], hear)
    assert len(heard) == 2
    assert len(server.requests) <= 5
    assert time.monotonic() - began < 5


def test_an_error_of_the_listener_ends_the_asking_and_is_raised(server: ChatServer) -> None:
    def hear(reply: Reply) -> bool:
        server.seconds = 30.0
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        EndpointJudge(configured(server), None).ask([request(number) for number in range(50)], hear)
    assert time.monotonic() - began < 5
    assert not [thread for thread in threading.enumerate() if thread.name == "judge"]


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)


def test_the_key_goes_to_the_endpoint_and_nowhere_else(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, everything_logged: io.StringIO
) -> None:
    monkeypatch.setenv("JUDGE_KEY", f"{KEY}\n")
    config = configured(server, api_key_variable="JUDGE_KEY", retries=0)
    # Cut by the limit on quoted text, it must not show by half either.
    late = b"." * 185 + KEY.encode()
    server.faults += [Fault(status=401, body=f"wrong key: {KEY}".encode()), Fault(status=400, body=late)]
    server.answer = lambda *_: f"Your key is {KEY}.\n[[A]]"
    replies = ask(config, [request(number) for number in range(3)])
    assert {asked.headers["Authorization"] for asked in server.requests} == {f"Bearer {KEY}"}
    assert sorted(reply.outcome for reply in replies) == ["answered", "failed", "failed"]
    told = repr([replies, config, config.identity(), EndpointJudge(config, config.api_key())])
    assert "***" in told
    assert KEY[:6] not in told
    assert "chat/completions" in everything_logged.getvalue()
    assert KEY not in everything_logged.getvalue()


@pytest.mark.parametrize("value", ["sk-line\nbreak", "sk-ключ", "sk-\x00", ""])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    config = JudgeConfig(endpoint="http://localhost/v1", model_name="j", api_key_variable="JUDGE_KEY")
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    if "\x00" in value:
        monkeypatch.setattr("os.environ", {"JUDGE_KEY": value})
    elif value:
        monkeypatch.setenv("JUDGE_KEY", value)
    with pytest.raises(JudgeError, match="JUDGE_KEY") as raised:
        config.api_key()
    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "give exactly one of endpoint and model"),
        ({"endpoint": "http://h/v1", "model": "m", "model_name": "j"}, "give exactly one of endpoint and model"),
        ({"endpoint": "http://h/v1"}, "model_name is missing"),
        ({"endpoint": "h/v1", "model_name": "j"}, "no http:// or https:// address"),
        ({"endpoint": "ftp://h", "model_name": "j"}, "no http:// or https:// address"),
        ({"endpoint": "http://user:s3cret@h/v1", "model_name": "j"}, "a key belongs into an environment variable"),
        ({"endpoint": "http://h/v1?key=s3cret", "model_name": "j"}, "a key belongs into an environment variable"),
        ({"model": "m", "api_key_variable": "sk-s3cret"}, "api_key_variable"),
        ({"model": "m", "api_key_variable": "gsk_s3cret"}, "api_key_variable"),
        ({"model": "m", "most_cost": 5}, "most_cost is 5 and no price is set"),
    ],
)
def test_settings_that_name_no_judge_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as raised:
        JudgeConfig(**settings)
    assert "s3cret" not in str(raised.value)


def test_how_the_judge_is_reached_is_no_part_of_the_identity() -> None:
    one = JudgeConfig(endpoint="http://h/v1/", model_name="j")
    other = JudgeConfig(endpoint="http://h/v1", model_name="j", max_parallel=1, retries=0, api_key_variable="K")
    assert one.identity() == other.identity()
    assert one.book_key(None) == other.book_key(None)
    for changed in ({"model_name": "k"}, {"endpoint": "http://i/v1"}):
        different = one.model_copy(update=changed)
        assert different.identity() != one.identity()
        assert different.book_key(None) != one.book_key(None)
    assert one.book_key("a" * 64) != one.book_key("b" * 64)


def test_silence_that_has_to_be_paid_is_counted_and_not_asked_for_again(server: ChatServer) -> None:
    """As of a judge that spends all its tokens on thinking."""
    usage = b'"usage": {"prompt_tokens": 9, "completion_tokens": 64}'
    server.faults.append(Fault(body=b'{"choices": [{"message": {"content": null}}], %s}' % usage))
    (reply,) = ask(configured(server), [request()])
    assert (reply.outcome, reply.tries, reply.input_tokens, reply.output_tokens) == ("failed", 1, 9, 64)
    assert reply.fault.startswith("no text in the completion: ")
    server.faults = [Fault(body=b'{"choices": [], %s}' % usage)] * 9
    requests = [request(number) for number in range(9)]
    replies = ask(
        configured(server, most_cost=requests[0].most_input_tokens + 64 + 73, max_parallel=1, **PRICES), requests
    )
    assert [reply.outcome for reply in replies] == ["failed"] * 2 + ["not asked"] * 7
