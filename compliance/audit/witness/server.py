"""The witness over HTTP: `POST /add-checkpoint` and `GET /<origin hash>/checkpoint`. Put TLS before it."""

from __future__ import annotations

import http.server
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from compliance.audit.witness.protocol import Answer

if TYPE_CHECKING:
    from compliance.audit.witness.protocol import Witness

MAX_REQUEST = 64 * 1024


def handler(witness: Witness) -> type[http.server.BaseHTTPRequestHandler]:
    """Return the request handler of a witness."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > MAX_REQUEST:
                self.close_connection = True
                self._answer(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
                return
            body = self.rfile.read(int(length))
            path = self.path == "/add-checkpoint"
            self._answer(witness.add_checkpoint(body) if path else Answer(HTTPStatus.NOT_FOUND))

        def do_GET(self) -> None:
            found = re.fullmatch(r"/([0-9a-f]{64})/checkpoint", self.path)
            self._answer(witness.last_checkpoint(found[1]) if found else Answer(HTTPStatus.NOT_FOUND))

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: requests hold signed facts only, and the answer says all there is."""

        def _answer(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    return Handler


def serve(witness: Witness, host: str, port: int) -> http.server.ThreadingHTTPServer:
    """Return a bound server; the caller runs `serve_forever`."""
    return http.server.ThreadingHTTPServer((host, port), handler(witness))
