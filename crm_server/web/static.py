"""Serves the built assets. Their names carry a hash of their content, so browsers keep them for ever.

`bin/assets.mjs` builds them and writes manifest.json, which maps plain names to hashed ones.
"""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from pyramid.httpexceptions import HTTPNotFound

from crm_server.permissions import PUBLIC

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from pyramid.response import Response

_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, held in memory: there are a handful, and workers serve them without touching the disk."""

    media_type: str
    body: bytes
    packed: bytes | None


class Assets:
    """The built files by their hashed names, and the map from plain names."""

    def __init__(self, folder: Path) -> None:
        manifest = folder / "manifest.json"
        self._names: dict[str, str] = orjson.loads(manifest.read_bytes()) if manifest.exists() else {}
        self._files: dict[str, Asset] = {}
        for path in folder.iterdir() if folder.exists() else ():
            if path.name == "manifest.json" or path.suffix == ".gz" or not path.is_file():
                continue
            packed = path.with_name(f"{path.name}.gz")
            self._files[path.name] = Asset(
                mimetypes.guess_type(path.name)[0] or "application/octet-stream",
                path.read_bytes(),
                packed.read_bytes() if packed.exists() else None,
            )

    def url(self, name: str) -> str:
        """The address of "app.css" and the like."""
        return f"/assets/{self._names.get(name, name)}"

    def get(self, name: str) -> Asset | None:
        """The file of a hashed name, or None."""
        return self._files.get(name)


def asset(request: Request) -> Response:
    """One built file."""
    found: Asset | None = request.registry.assets.get(request.matchdict["name"])
    if found is None:
        return HTTPNotFound("There is no such file.")
    response: Response = request.response
    response.content_type = found.media_type
    if found.packed is not None and "gzip" in str(request.accept_encoding):
        response.headers["Content-Encoding"] = "gzip"
        response.body = found.packed
    else:
        response.body = found.body
    if found.media_type.startswith("text/") or found.media_type.endswith("javascript"):
        response.charset = "utf-8"
    response.headers["Cache-Control"] = _FOR_EVER
    response.headers["Vary"] = "Accept-Encoding"
    return response


def includeme(config: Configurator) -> None:
    """Read the files and add their address."""
    config.registry.assets = Assets(config.registry.settings["kontor"].assets_dir)
    config.add_route("asset", "/assets/{name}")
    config.add_view(asset, route_name="asset", permission=PUBLIC, request_method="GET")
