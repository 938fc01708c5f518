"""The application as a whole: it starts, answers its health checks, and refuses what it must refuse at the start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from webtest import TestApp

from crm_server.app import main
from crm_server.settings import Settings
from tests.conftest import close


@pytest.fixture(scope="module")
def app(settings: Settings) -> Iterator[TestApp]:
    made = main(settings)
    yield TestApp(made, extra_environ={"HTTP_HOST": "localhost", "wsgi.url_scheme": "https"})
    close(made)


class TestApplication:
    def test_it_says_that_it_is_alive_and_ready(self, app: TestApp) -> None:
        assert app.get("/healthz").json == {"status": "alive"}
        assert app.get("/readyz").json == {"status": "ready"}

    def test_an_unknown_host_name_is_refused(self, app: TestApp) -> None:
        app.get("/healthz", extra_environ={"HTTP_HOST": "evil.example"}, status=400)

    def test_every_answer_carries_the_security_headers(self, app: TestApp) -> None:
        headers = app.get("/healthz").headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Request-Id"]

    def test_a_view_without_a_permission_stops_the_start(self) -> None:
        config = Configurator()
        config.include("crm_server.kernel.views")
        config.add_route("bare", "/bare")
        config.add_view(lambda _request: {}, route_name="bare", renderer="json")
        with pytest.raises(ConfigurationError, match="must say its permission"):
            config.make_wsgi_app()
