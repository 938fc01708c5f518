"""SCIM 2.0 for providers: one address space, reached by a token of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyramid.response import Response
from pyramid.view import view_config

from crm_server.domain.identity.views.common import client_of, services_of
from crm_server.permissions import PUBLIC

if TYPE_CHECKING:
    from pyramid.request import Request


@view_config(route_name="scim", permission=PUBLIC, require_csrf=False)
def scim(request: Request) -> Response:
    """Everything below /scim/v2. Public to Pyramid because no user asks; the token is asked for here.

    No cookie is looked at, so a browser's form has no authority here and needs no form token.
    """
    from crm_server.domain.identity import scim_server

    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    limits = services_of(request).limits
    response = scim_server.serve(
        request, services_of(request).scim, token.strip() if scheme.lower() == "bearer" else ""
    )
    if response.status_int == 401 and not limits.address.hit(client_of(request).address or "").allowed:
        response = Response(status=429, headerlist=[("Retry-After", "300")])
    return response
