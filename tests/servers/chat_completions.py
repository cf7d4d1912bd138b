"""A server that speaks the chat-completions protocol, and can be told to fail in the ways in which such endpoints do:

with ChatServer(lambda system, user: "Both say the same.\n[[C]]") as server:
    server.faults += [Fault(status=429, headers={"Retry-After": "0"}), Fault(reset=True)]
"""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

Answer = Callable[[str, str], str]
"""Takes the system's and the user's message."""


@dataclass(frozen=True)
class Fault:
    """How one request goes wrong; what is not set goes as usual."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """In place of a completion."""
    seconds: float = 0.0
    """Before the answer; a server that is stopped meanwhile does not wait."""
    reset: bool = False
    """The connection is torn down without an answer."""
    trickle: bool = False
    """A byte at a time, each in time, and never an end."""


class Asked(NamedTuple):
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float

    @property
    def user(self) -> str:
        return str(self.body["messages"][-1]["content"])


class ChatServer:
    """Answers every request with `answer`, unless a fault is waiting."""

    def __init__(self, answer: Answer, *, always: Fault | None = None, usage: bool = True) -> None:
        self.answer, self.always, self.usage = answer, always, usage
        self.faults: list[Fault] = []
        """Each is used once, in this order."""
        self.requests: list[Asked] = []
        self.most_at_once = 0
        self.seconds = 0.0
        """What every answer takes."""
        self._at_once = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.chat = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def completion(self, asked: Asked) -> bytes:
        """The answer as the protocol has it; a word is a token."""
        text = self.answer(asked.body["messages"][0]["content"], asked.user)
        message = {"role": "assistant", "content": text}
        document: dict[str, Any] = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": asked.body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }
        if self.usage:
            prompt = sum(len(each["content"].split()) for each in asked.body["messages"])
            document["usage"] = {"prompt_tokens": prompt, "completion_tokens": len(text.split())}
        return json.dumps(document).encode()

    def begin(self, asked: Asked) -> Fault:
        with self._lock:
            self.requests.append(asked)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            return self.faults.pop(0) if self.faults else self.always or Fault()

    def end(self) -> None:
        with self._lock:
            self._at_once -= 1

    def wait(self, seconds: float) -> bool:
        """Whether the server was stopped meanwhile."""
        return self._stopped.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    chat: ChatServer

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait for an acknowledgement
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        chat = self.server.chat
        asked = Asked(self.path, dict(self.headers.items()), body, time.monotonic())
        fault = chat.begin(asked)
        try:
            self._respond(chat, asked, fault)
        finally:
            chat.end()

    def _respond(self, chat: ChatServer, asked: Asked, fault: Fault) -> None:
        if chat.wait(fault.seconds + chat.seconds):
            self.close_connection = True
        elif fault.reset:
            # Without lingering, the other side gets a reset in place of an end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            self.close_connection = True
            self.connection.close()
        elif fault.trickle:
            self._trickle(chat)
        else:
            default = b'{"error": {"message": "no"}}' if fault.status != 200 else chat.completion(asked)
            data = default if fault.body is None else fault.body
            self.send_response(fault.status)
            for name, value in {"Content-Type": "application/json", **fault.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(data)

    def _trickle(self, chat: ChatServer) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.close_connection = True
        with suppress(OSError):
            while not chat.wait(0.05):
                self.wfile.write(b" ")
                self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass
