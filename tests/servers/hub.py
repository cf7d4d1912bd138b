"""A server that speaks what the Hub's client needs to make a repository and commit small files to it."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class HubServer:
    """Keeps what was committed; `refuse` makes it answer every request with 403."""

    def __init__(self) -> None:
        self.refuse = False
        self.tokens: set[str | None] = set()
        self.created: list[dict[str, Any]] = []
        self.commits: list[tuple[str, dict[str, bytes]]] = []
        """The message and the files of each commit."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        """What the Hub answers to a posted body."""
        if path == "/api/validate-yaml":
            return {"warnings": [], "errors": []}
        if path == "/api/repos/create":
            asked = json.loads(body)
            self.created.append(asked)
            return {"url": f"{self.endpoint}/{asked['organization']}/{asked['name']}"}
        if "/preupload/" in path:
            asked_for = [file["path"] for file in json.loads(body)["files"]]
            return {"files": [{"path": file, "uploadMode": "regular", "shouldIgnore": False} for file in asked_for]}
        head, *operations = [json.loads(line) for line in body.splitlines()]
        files = {each["value"]["path"]: base64.b64decode(each["value"]["content"]) for each in operations}
        self.commits.append((head["value"]["summary"], files))
        number, repository = len(self.commits), path.removeprefix("/api/models/").split("/commit/")[0]
        return {"commitUrl": f"{self.endpoint}/{repository}/commit/{number}", "commitOid": f"{number:040x}"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hub.tokens.add(self.headers["Authorization"])
                self._send(403 if hub.refuse else 200, {} if hub.refuse else hub.answer(self.path, body))

            def do_GET(self) -> None:
                self._send(403, {})

            def _send(self, status: int, answer: dict[str, Any]) -> None:
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_arguments: Any) -> None:
                pass

        return Handler
