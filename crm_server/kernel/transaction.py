"""One transaction a request. A tween opens it when it is first used, commits it when the view has returned, and
rolls it back when anything was raised.

Returning an HTTP error commits, raising one rolls back.

A transaction that PostgreSQL refused for a reason that passes (serialization failure, deadlock, a lost connection
before COMMIT) runs again, with pauses, until the request's deadline. A connection lost during COMMIT is never
repeated: nobody knows whether the change was made (`OutcomeUnknown`). A request whose actor was recalled and isn't any
more who they were runs again as well (`kernel/recalled.py`), once and without a pause.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from pyramid.httpexceptions import HTTPException
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from crm_server.kernel import db, recalled
from crm_server.kernel.denials import Denials
from crm_server.kernel.errors import AppError, NoSpace, NotAuthenticated, Outdated, TooSlow, Unavailable
from crm_server.kernel.keys import Keys
from monitoring import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyramid.config import Configurator
    from pyramid.registry import Registry
    from pyramid.request import Request
    from pyramid.response import Response
    from sqlalchemy.orm import Session

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0  # seconds
_ADHOC = "webob.adhoc_attrs"


def transaction_tween(
    handler: Callable[[Request], Response], registry: Registry
) -> Callable[[Request], Response]:
    """The tween; sits directly around the views, below the one that renders errors."""
    deadline_seconds: int = registry.settings["kontor"].request_deadline

    def tween(request: Request) -> Response:
        with recalled.allowed(request):
            return until_done(request)

    def until_done(request: Request) -> Response:
        deadline = time.monotonic() + deadline_seconds
        pause = _FIRST_PAUSE
        before = dict(request.environ.get(_ADHOC, {})), dict(request.__dict__)
        while True:
            try:
                response = handler(request)
                recalled.confirm(request)
                _finish(request)
            except Exception as error:
                _abandon(request)
                if _is_outdated(request, error):
                    metrics.TRANSACTIONS.labels("outdated").inc()
                    recalled.look_afresh(request)
                    _forget(request, *before)
                    continue
                if not db.is_retryable(error):
                    if isinstance(error, PoolTimeout):
                        raise Unavailable from error
                    if db.is_timeout(error):
                        raise TooSlow from error
                    if db.is_full(error):
                        raise NoSpace from error
                    raise
                if time.monotonic() + pause > deadline:
                    metrics.TRANSACTIONS.labels("given_up").inc()
                    raise Unavailable from error
                metrics.TRANSACTIONS.labels("retried").inc()
                time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries, protects nothing
                pause = min(pause * 2, _LONGEST_PAUSE)
                _forget(request, *before)
            else:
                return response

    return tween


def _is_outdated(request: Request, error: Exception) -> bool:
    """Whether the actor was recalled and isn't any more who they were; a refusal is the answer to the right person."""
    if isinstance(error, Outdated):
        return True
    if isinstance(error, AppError | HTTPException) and not isinstance(error, Unavailable):
        try:
            recalled.confirm(request)
        except Outdated:
            return True
    return False


def _finish(request: Request) -> None:
    session: Session | None = request.__dict__.get("db")
    if session is None:
        return
    if request.__dict__.get("doomed"):
        session.rollback()
    else:
        db.commit(session)
        for callback in session.info.pop(db.AFTER_COMMIT, ()):
            callback()
    session.close()


def _abandon(request: Request) -> None:
    session: Session | None = request.__dict__.get("db")
    if session is not None:
        try:
            session.rollback()
        except DBAPIError:
            session.invalidate()
        session.close()


def _forget(request: Request, adhoc: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Bring the request back to what it was before the view saw it: a second run must not see the first."""
    request.__dict__.clear()
    request.__dict__.update(attributes)
    if adhoc:
        request.environ[_ADHOC] = adhoc
    else:
        request.environ.pop(_ADHOC, None)
    body = request.environ.get("wsgi.input")
    if hasattr(body, "seek"):
        body.seek(0)


def session_of(request: Request) -> Session:
    """`request.db`: the session of this request, as its actor.

    Raises:
        NotAuthenticated: nobody is logged in; public views use sessions of their own.
    """
    actor = request.actor
    if actor is None:
        raise NotAuthenticated
    session: Session = db.open_session(request.registry.session_factory, actor)
    return session


def includeme(config: Configurator) -> None:
    """Add `request.db` and the tween."""
    settings = config.registry.settings["kontor"]
    engine = db.create_app_engine(settings)
    config.registry.engine = engine
    config.registry.keys = Keys.open(settings, engine)
    config.registry.keys.announce()
    config.registry.denials = Denials(engine)
    config.registry.session_factory = db.session_factory(engine, settings, config.registry.keys)
    config.add_request_method(session_of, "db", reify=True)
    config.add_tween(
        "crm_server.kernel.transaction.transaction_tween", under="pyramid.tweens.excview_tween_factory"
    )
