"""A proxy before the object store that can be told, at run time, to fail in the ways in which a network store fails:

with FaultProxy(store.endpoint) as proxy:
    proxy.mode = "denied"                                          # every request, until told otherwise
    proxy.fail("error500", method="PUT", key="manifest", times=2)  # the next two that match
    proxy.mode = "pass"
"""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NamedTuple, Self, cast
from urllib.parse import unquote, urlsplit

# lost: the store does what is asked, and the connection breaks before its answer arrives.
# drop: the connection breaks at once. hang: no answer until the fault is changed.
Mode = Literal["pass", "error500", "denied", "slow_down", "hang", "drop", "lost"]

BLOCK_BYTES = 1 << 16
UPSTREAM_TIMEOUT_SECONDS = 120
# They speak of one connection only. "Expect" is answered here, before the body is read.
HOP_HEADERS = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
ERRORS: dict[str, tuple[int, str, str]] = {
    "error500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "denied": (403, "AccessDenied", "Access Denied"),
    "slow_down": (503, "SlowDown", "Please reduce your request rate."),
}


class Request(NamedTuple):
    """One request; `status` is None when it got no answer."""

    method: str
    path: str
    status: int | None


@dataclass(eq=False)
class Fault:
    mode: Mode
    method: str | None = None
    key: str = ""
    times: int | None = None

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request fails; counts down `times`."""
        if self.mode == "pass" or self.times == 0:
            return False
        if self.method not in (None, method) or self.key not in unquote(path):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class FaultProxy:
    """Forwards to `target` every request that no fault strikes, unchanged, so that its signature stays valid."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._fault = Fault("pass")
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def mode(self) -> Mode:
        return self._fault.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self.fail(mode)

    def fail(self, mode: Mode, *, method: str | None = None, key: str = "", times: int | None = None) -> None:
        """Replaces the fault. `key` is any part of the path or query; without `times` it stays until replaced.

        Requests that an earlier "hang" holds lose their connection now.
        """
        with self._changed:
            self._fault = Fault(mode, method.upper() if method else None, key, times)
            self._changed.notify_all()

    @property
    def requests(self) -> list[Request]:
        """Everything since the last `forget`, in the order of the answers; a request that hangs counts at once."""
        with self._changed:
            return list(self._requests)

    def forget(self) -> None:
        with self._changed:
            self._requests.clear()

    def stop(self) -> None:
        """Refuses connections from now on and breaks those that are open."""
        self.mode = "drop"
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.break_connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def decide(self, method: str, path: str) -> Fault | None:
        with self._changed:
            return self._fault if self._fault.strikes(method, path) else None

    def hold(self, fault: Fault) -> None:
        """Waits until the fault is replaced."""
        with self._changed:
            self._changed.wait_for(lambda: self._fault is not fault)

    def record(self, request: Request) -> None:
        with self._changed:
            self._requests.append(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        with self._lock:
            self._open.discard(cast(socket.socket, request))
        super().shutdown_request(request)

    def break_connections(self) -> None:
        """A client that kept its connection would otherwise still be served after the end."""
        with self._lock:
            for connection in self._open:
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave together

    def forward(self) -> None:
        fault = self._proxy.decide(self.command, self.path)
        try:
            if fault is None:
                self._relay()
            elif fault.mode in ERRORS:
                self._answer_error(*ERRORS[fault.mode])
            else:
                self._break_off(fault)
            self.wfile.flush()
        except (OSError, HTTPException):
            # The store or the client is gone: for the other side the connection just ends.
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = forward  # noqa: N815 - http.server's names

    def handle_expect_100(self) -> bool:
        proceed = super().handle_expect_100()
        self.wfile.flush()  # the client sends no body before it has read this
        return proceed

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal; `FaultProxy.requests` tells what happened."""

    @property
    def _proxy(self) -> FaultProxy:
        return cast(_Server, self.server).proxy

    def _record(self, status: int | None) -> None:
        """Called before the answer is written, so that a client that has read it finds it in the log."""
        self._proxy.record(Request(self.command, self.path, status))

    def _break_off(self, fault: Fault) -> None:
        if fault.mode == "lost":
            connection, _ = self._ask()
            connection.close()
        self._record(None)
        if fault.mode == "hang":
            self._proxy.hold(fault)
        self.close_connection = True

    def _answer_error(self, status: int, code: str, message: str) -> None:
        for _ in self._body() or ():  # the next request on this connection begins after the body
            pass
        self._record(status)
        body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    def _relay(self) -> None:
        connection, answer = self._ask()
        self._record(answer.status)
        try:
            self._copy(answer)
        finally:
            connection.close()

    def _ask(self) -> tuple[HTTPConnection, HTTPResponse]:
        """Sends the request on, its headers as they came: S3 signatures cover Host and several others."""
        connection = HTTPConnection(urlsplit(self._proxy.target).netloc, timeout=UPSTREAM_TIMEOUT_SECONDS)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_HEADERS:
                    connection.putheader(name, value)
            connection.putheader("Connection", "close")
            if self._is_chunked():
                connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders(self._body(), encode_chunked=self._is_chunked())
            return connection, connection.getresponse()
        except (OSError, HTTPException):
            self._record(None)
            connection.close()
            raise

    def _copy(self, answer: HTTPResponse) -> None:
        """Hands the answer on block by block; one that ends early also ends early for the client."""
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_HEADERS:
                self.send_header(name, value)
        has_body = self.command != "HEAD" and answer.status >= 200 and answer.status not in (204, 304)
        chunked = has_body and answer.getheader("Content-Length") is None
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for block in iter(lambda: answer.read(BLOCK_BYTES), b"") if has_body else ():
            self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection |= has_body and not chunked and bool(answer.length)

    def _is_chunked(self) -> bool:
        return self.headers.get("Transfer-Encoding", "").lower() == "chunked"

    def _body(self) -> Iterator[bytes] | None:
        if self._is_chunked():
            return self._chunks()
        length_bytes = int(self.headers.get("Content-Length") or 0)
        return self._blocks(length_bytes) if length_bytes else None

    def _blocks(self, length_bytes: int) -> Iterator[bytes]:
        while length_bytes:
            block = self.rfile.read(min(length_bytes, BLOCK_BYTES))
            if not block:
                raise ConnectionError(f"the client left with {length_bytes} bytes unsent")
            length_bytes -= len(block)
            yield block

    def _chunks(self) -> Iterator[bytes]:
        while length_bytes := int(self.rfile.readline().split(b";")[0], 16):
            yield from self._blocks(length_bytes)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers, up to the empty line
            pass
