"""What pages and API share: the service of a request, and files that can't be read as an error of the
client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from crm_server.domain.imports.jobs import enqueue
from crm_server.domain.imports.services import ImportLimits, ImportService, importable
from crm_server.importing.errors import ImportFileError, _
from crm_server.importing.texts import translate
from crm_server.kernel.errors import AppError, NotAllowed

if TYPE_CHECKING:
    from pyramid.request import Request

__all__ = ["FileRefused", "import_id", "readable", "require_any", "service_of", "translator_of"]


class FileRefused(AppError):
    """The uploaded file, or the mapping for it, can't be used; the detail says why and what to do."""

    status = 422
    code = "file_refused"
    title = _("The file, or the mapping for it, can't be used as it is.")

    def __init__(self, error: ImportFileError) -> None:
        super().__init__(error.message, reason=error.code, line=error.line)


@contextmanager
def readable() -> Iterator[None]:
    """Turns what is wrong with a file into an answer of 422."""
    try:
        yield
    except ImportFileError as error:
        raise FileRefused(error) from error


def service_of(request: Request) -> ImportService:
    """The imports of whoever asks."""
    settings = request.registry.settings["kontor"]
    limits = ImportLimits(settings.upload_limit, settings.default_country, settings.default_currency)
    return ImportService(request.db, request.registry.datamap, limits, enqueue, translate=translate)


def require_any(request: Request) -> list[str]:
    """The kinds of records that the person may import. Raises NotAllowed when there are none."""
    found = importable(request.actor)
    if not found:
        raise NotAllowed("import")
    return found


def import_id(request: Request) -> UUID:
    """The key in the address; the route's pattern has checked it."""
    return UUID(request.matchdict["id"])


def translator_of(request: Request) -> Callable[[object], str]:
    """Translates into the language of the request."""
    locale = str(request.locale_name)
    return lambda text: translate(text, locale)


def text_of(value: Any) -> str:
    """A form value as text, trimmed and short enough to be one."""
    return value.strip()[:500] if isinstance(value, str) else ""
