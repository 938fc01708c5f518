"""Providers of single sign-on for the tests of this folder, on loopback with real TLS.

Canaille is a whole identity provider (OpenID Connect by authlib's server side, log-in pages, groups), the most
real one that installs from PyPI without a JVM; a log-in goes through its own pages. `Liar` is a provider that
tells whatever a test wants, signed with any key, which no honest provider can be made to do.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from bs4 import BeautifulSoup
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server

from tests.integration.identity.servers import Authority, free_port

SECRET = "secret of the client at its provider"
PASSWORD = "velvet otter compiles"


@dataclass
class CanailleServer:
    """A running Canaille."""

    port: int
    app: Any
    authority: Authority

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.port}"

    def register(self, client_id: str, redirect: str, back: str = "https://localhost/login") -> None:
        """Register a client that nobody is asked to consent to."""
        from canaille.app import models

        with self.app.app_context():
            known = self.app.backend.get(models.Client, client_id=client_id)
            client = known or models.Client(client_id=client_id)
            client.client_secret, client.client_name = SECRET, "Kontor"
            client.client_uri = "https://localhost"
            client.redirect_uris, client.post_logout_redirect_uris = [redirect], [back]
            client.grant_types, client.response_types = ["authorization_code"], ["code"]
            client.scope = ["openid", "profile", "email", "groups"]
            client.token_endpoint_auth_method = "client_secret_basic"
            self.app.backend.save(client)
            client.audience = [client]
            self.app.backend.save(client)

    def person(self, login: str, *groups: str) -> None:
        """Make a person, or put one into exactly these groups."""
        from canaille.app import models

        with self.app.app_context():
            backend = self.app.backend
            user = backend.get(models.User, user_name=login)
            if user is None:
                user = models.User(
                    user_name=login,
                    formatted_name=login.title(),
                    family_name=login.title(),
                    emails=[f"{login}@example.test"],
                    password=PASSWORD,
                )
                backend.save(user)
            for name in groups:
                group = backend.get(models.Group, display_name=name)
                if group is None:
                    group = models.Group(display_name=name, members=[user])
                elif user not in group.members:
                    group.members = [*group.members, user]
                backend.save(group)
            for group in backend.query(models.Group):
                if group.display_name not in groups and user in group.members:
                    group.members = [one for one in group.members if one != user]
                    backend.save(group)

    def visit(self, url: str, login: str, password: str = PASSWORD) -> str:
        """Go to the provider as a browser does, log in on its pages, and return where it sends the browser."""
        context = ssl.create_default_context(cafile=str(self.authority.ca_file))
        with httpx.Client(verify=context, timeout=20) as browser:
            answer = browser.get(url)
            for _step in range(12):
                if answer.is_redirect:
                    target = urllib.parse.urljoin(str(answer.url), answer.headers["Location"])
                    if not target.startswith(self.issuer):
                        return target
                    answer = browser.get(target)
                    continue
                answer = self._fill(browser, answer, login, password)
        raise AssertionError(f"the provider stays at {answer.url}: {answer.text[:2000]}")

    def _fill(self, browser: httpx.Client, page: httpx.Response, login: str, password: str) -> httpx.Response:
        forms = BeautifulSoup(page.text, "html.parser").find_all("form")
        for form in forms:
            fields = {one["name"]: one.get("value", "") for one in form.find_all("input") if one.get("name")}
            if "login" in fields or "password" in fields:
                typed = {"login": login, "password": password}
                fields |= {name: value for name, value in typed.items() if name in fields}
                target = urllib.parse.urljoin(str(page.url), form.get("action") or str(page.url))
                return browser.post(target, data=fields)
        raise AssertionError(f"no form to log in at {page.url}: {page.text[:3000]}")


@contextmanager
def running_canaille(authority: Authority) -> Iterator[CanailleServer]:
    """A Canaille in this process, with everything in memory."""
    from canaille import create_app

    port = free_port()
    app = create_app(
        config={
            "SERVER_NAME": f"localhost:{port}",
            "PREFERRED_URL_SCHEME": "https",
            "SECRET_KEY": "only for the tests of this process",
            "WTF_CSRF_ENABLED": False,
            "CANAILLE": {
                "DATABASE": "memory",
                "JAVASCRIPT": False,
                "HTMX": False,
                "ACL": {"DEFAULT": {"PERMISSIONS": ["use_oidc"], "READ": ["user_name", "groups"]}},
                "LOGGING": {"version": 1, "disable_existing_loggers": False},
            },
            "CANAILLE_OIDC": {
                "TRUSTED_DOMAINS": ["localhost"],
                "ACTIVE_JWKS": [RSAKey.generate_key(2048).as_dict(private=True)],
            },
        }
    )
    for name in ("werkzeug", "httpx", "canaille"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    certificate, key = authority.issue("canaille", "localhost", "127.0.0.1")
    server = make_server("127.0.0.1", port, app, threaded=False, ssl_context=(str(certificate), str(key)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield CanailleServer(port, app, authority)
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


@dataclass
class Liar:
    """A provider whose every word a test chooses. Methods of `tell` change what the next log-in gets."""

    port: int
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    published: list[RSAKey] | None = None
    change: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256", "kid": "one"})
    forge: Callable[[dict[str, Any]], str] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    delay: float = 0.0
    down: bool = False
    asked: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    bodies: list[dict[str, str]] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.port}"

    def answer_to(self, url: str, **more: str) -> str:
        """What a browser brings back from this provider: the parameters of our callback."""
        self.asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        back = {"code": "a code", "state": self.asked["state"], "iss": self.issuer} | more
        return urllib.parse.urlencode({name: value for name, value in back.items() if value})

    def claims(self, **more: Any) -> dict[str, Any]:
        moment = int(time.time())
        return {
            "iss": self.issuer,
            "sub": "subject-1",
            "aud": self.asked.get("client_id", "kontor"),
            "exp": moment + 300,
            "iat": moment,
            "auth_time": moment,
            "nonce": self.asked.get("nonce", ""),
            "preferred_username": "liar1",
            "name": "Lena Liar",
            "email": "lena@example.test",
            "groups": ["sellers"],
        } | more

    def sign(self, claims: dict[str, Any], header: dict[str, Any] | None = None, key: Any = None) -> str:
        return jwt.encode(header or self.header, claims, key or self.key)

    def document(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/logout",
            "id_token_signing_alg_values_supported": ["RS256"],
            "authorization_response_iss_parameter_supported": True,
        } | self.metadata

    def reply(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:  # noqa: PLR0911 - one for each address
        """Status and body of the answer to a request."""
        self.calls.append(path)
        time.sleep(self.delay)
        if self.down:
            return 503, {}
        if path == "/.well-known/openid-configuration":
            return 200, self.document()
        if path == "/keys":
            keys = self.published if self.published is not None else [self.key]
            return 200, KeySet(keys).as_dict(private=False)  # type: ignore[arg-type]
        if path == "/userinfo":
            return 200, {"sub": "subject-1", **self.userinfo}
        if path == "/token":
            form = dict(urllib.parse.parse_qsl(body.decode()))
            self.bodies.append(form)
            if form["code"] in self.used:
                return 400, {"error": "invalid_grant"}
            self.used.add(form["code"])
            claims = self.change(self.claims())
            token = self.forge(claims) if self.forge is not None else self.sign(claims)
            return 200, {"id_token": token, "access_token": "access", "token_type": "Bearer"}
        return 404, {}


@contextmanager
def running_liar(authority: Authority) -> Iterator[Liar]:
    """A liar in this process."""
    liar = Liar(free_port())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, found = liar.reply(urllib.parse.urlsplit(self.path).path, body)
            content = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the name is the library's

        def log_message(self, *_arguments: object) -> None:
            pass

    certificate, key = authority.issue("liar", "localhost", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    server = Server(("127.0.0.1", liar.port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield liar
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
