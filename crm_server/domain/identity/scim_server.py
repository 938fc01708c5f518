"""The addresses of SCIM 2.0 (RFC 7644): reads a request, asks `ScimService`, writes the answer.

Imported at the first request for SCIM, because its library is large and most processes never need it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from pydantic import ValidationError
from pyramid.response import Response
from scim2_models import (
    Context,
    Error,
    InvalidValueException,
    ListResponse,
    Meta,
    NotFoundException,
    PatchOp,
    PreconditionFailedException,
    Reference,
    ResponseParameters,
    SCIMException,
    SearchRequest,
    UniquenessException,
)
from scim2_models.path.expressions import CompareOperator, Comparison

from crm_server.domain.identity.services.scim import Person
from crm_server.kernel import db as database
from crm_server.kernel.actor import Origin, system_actor
from crm_server.kernel.errors import AppError, Conflict, NotFound, TooManyRequests
from security.identity import scim

if TYPE_CHECKING:
    from pyramid.request import Request
    from sqlalchemy.orm import Session

    from crm_server.domain.identity.models import User
    from crm_server.domain.identity.services.scim import ScimService
    from crm_server.domain.identity.sso_models import ScimGroup, ScimUser, SsoProvider

_KIND = "application/scim+json"
_MOST_BYTES = 1024 * 1024
MOST_RESOURCES = 50_000
_CREATE = Context.RESOURCE_CREATION_REQUEST
_REPLACE = Context.RESOURCE_REPLACEMENT_REQUEST


def serve(request: Request, service: ScimService, token: str) -> Response:
    """Answer one request, in a transaction of its own."""
    actor = system_actor(Origin.API, request.request_id)
    with database.open_session(request.registry.session_factory, actor) as db:
        found = service.provider_of(db, token)
        if found is None:
            return _error(401, "The token is not valid.", [("WWW-Authenticate", 'Bearer realm="scim"')])
        row, key = found
        db.info[database.ACTOR] = dataclasses.replace(actor, name="SCIM", auth_method="scim", session_ref=key)
        server = _Server(request, db, row, service)
        try:
            with scim.POLICY:
                response = server.answer()
            database.commit(db)
        except (ValidationError, SCIMException, AppError, _Unreadable) as error:
            db.rollback()
            response = _refusal(error)
            if isinstance(error, TooManyRequests):
                service.tell_brake(db, row)
                database.commit(db)
    return response


class _Server:
    """One request of one provider."""

    def __init__(self, request: Request, db: Session, row: SsoProvider, service: ScimService) -> None:
        self._request = request
        self._db = db
        self._row = row
        self._service = service
        self._base = f"{request.host_url}/scim/v2"

    def answer(self) -> Response:  # noqa: PLR0911 - one for each kind of address
        """Find what is asked for and do it."""
        parts, method = self._request.matchdict["rest"], self._request.method
        described = {"ServiceProviderConfig", "ResourceTypes", "Schemas"}
        if parts and parts[0] in described and len(parts) <= 2:
            return self._describe(parts) if method == "GET" else _error(405, "This can only be read.")
        if parts == (".search",) and method == "POST":
            return self._search_all(self._body())
        if not parts or parts[0] not in scim.RESOURCES:
            raise NotFoundException(detail="There is no such address.")
        if len(parts) == 1 and method == "GET":
            return self._search(parts[0], self._query_parameters())
        if len(parts) == 2 and parts[1] == ".search" and method == "POST":
            return self._search(parts[0], self._body())
        if len(parts) == 1 and method == "POST":
            return self._create(parts[0])
        if len(parts) == 2 and method in {"GET", "PUT", "PATCH", "DELETE"}:
            return self._one(parts[0], _key(parts[1]))
        return _error(405, "This method is not possible here.")

    def _describe(self, parts: tuple[str, ...]) -> Response:
        if parts[0] == "ServiceProviderConfig":
            return _json(scim.config(self._base).model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE))
        if "filter" in self._request.GET:
            # RFC 7644 §4: these can't be filtered, and a filter must not be passed over.
            return _error(403, "These addresses can't be filtered.")
        found: list[Any] = (
            list(scim.schemas(self._base)) if parts[0] == "Schemas" else list(scim.resource_types(self._base))
        )
        if len(parts) == 2:
            found = [one for one in found if one.id == parts[1]]
            if not found:
                raise NotFoundException(detail="There is no such resource.")
            return _json(found[0].model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE))
        listed_type: Any = ListResponse[type(found[0])]  # type: ignore[misc]
        listed = listed_type(
            total_results=len(found), start_index=1, items_per_page=len(found), resources=found
        )
        return _json(listed.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE))

    def _search(self, kind: str, given: dict[str, Any]) -> Response:
        model = scim.RESOURCES[kind]
        wanted = SearchRequest[model].model_validate(given)  # type: ignore[valid-type]
        return self._page(wanted, self._all(kind, _narrowed(wanted.filter, kind)), ListResponse[model])  # type: ignore[valid-type]

    def _search_all(self, given: dict[str, Any]) -> Response:
        """Search users and groups together (RFC 7644 §3.4.3)."""
        wanted = SearchRequest[scim.User | scim.Group].model_validate(given)
        found = [*self._all("Users", {}), *self._all("Groups", {})]
        return self._page(wanted, found, ListResponse[scim.User | scim.Group])

    def _page(self, wanted: Any, found: list[Any], listed: Any) -> Response:
        if wanted.filter is not None:
            found = [one for one in found if wanted.filter.match(one)]
        if wanted.sort_by is not None:
            found = wanted.sort(found)
        start = max(wanted.start_index or 1, 1)
        count = scim.MAX_RESULTS if wanted.count is None else min(max(wanted.count, 0), scim.MAX_RESULTS)
        page = found[start - 1 : start - 1 + count]
        answer = listed(total_results=len(found), start_index=start, items_per_page=len(page), resources=page)
        return _json(answer.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=wanted))

    def _create(self, kind: str) -> Response:
        given = self._body()
        resource = scim.RESOURCES[kind].model_validate(_tolerant(kind, given), scim_ctx=_CREATE)
        made = self._save(kind, None, resource)
        return self._represent(made, 201, Context.RESOURCE_CREATION_RESPONSE)

    def _one(self, kind: str, key: UUID) -> Response:
        method = self._request.method
        before = self._load(kind, key)
        version = before.meta.version if before.meta else None
        if method == "GET":
            if version and version in self._request.headers.get("If-None-Match", ""):
                return Response(status=304, headerlist=[("ETag", version)])
            return self._represent(before, 200, Context.RESOURCE_QUERY_RESPONSE)
        expected = self._request.headers.get("If-Match")
        if expected and expected.strip() != "*" and version not in expected:
            raise PreconditionFailedException(detail="The resource has changed since you read it.")
        if method == "DELETE":
            delete = self._service.delete_user if kind == "Users" else self._service.delete_group
            delete(self._db, self._row, key)
            return Response(status=204)
        if method == "PUT":
            wanted = scim.RESOURCES[kind].model_validate(_tolerant(kind, self._body()), scim_ctx=_REPLACE)
            wanted.replace(before)
            saved = self._save(kind, key, wanted)
            return self._represent(saved, 200, Context.RESOURCE_REPLACEMENT_RESPONSE)
        model = scim.RESOURCES[kind]
        patch = PatchOp[model].model_validate(  # type: ignore[valid-type]
            self._body(), scim_ctx=Context.RESOURCE_PATCH_REQUEST
        )
        after = before
        if patch.patch(after):
            after = self._save(kind, key, after)
        return self._represent(after, 200, Context.RESOURCE_PATCH_RESPONSE)

    def _save(self, kind: str, key: UUID | None, resource: Any) -> Any:
        if kind == "Users":
            person = _person(resource)
            if key is None:
                user, _kept = self._service.create_user(self._db, self._row, person)
            else:
                user, _kept = self._service.update_user(self._db, self._row, key, person)
            return self._load(kind, user.id)
        name = (resource.display_name or "").strip()
        if not name or len(name) > 300 or not name.isprintable() or len(resource.external_id or "") > 300:
            raise InvalidValueException(detail="displayName: 1 to 300 characters are expected.")
        members = {_key(one.value) for one in resource.members or () if one.value}
        group = self._service.save_group(self._db, self._row, key, name, resource.external_id, members)
        return self._load(kind, group.id)

    def _load(self, kind: str, key: UUID) -> Any:
        found = self._all(kind, {"id": key})
        if not found:
            raise NotFoundException(detail="There is no such resource.")
        return found[0]

    def _all(self, kind: str, narrowed: dict[str, Any]) -> list[Any]:
        if kind == "Users":
            rows = self._service.users(self._db, self._row, **narrowed)
            memberships = self._service.groups_of(self._db, [user.id for user, _kept in rows])
            return [self._user(user, kept, memberships.get(user.id, [])) for user, kept in rows]
        groups = self._service.groups(self._db, self._row, **narrowed)
        members = self._service.members(self._db, [one.id for one in groups])
        return [self._group(one, members.get(one.id, [])) for one in groups]

    def _user(self, user: User, kept: ScimUser, groups: list[tuple[UUID, str]]) -> scim.User:
        made = scim.User(
            id=str(user.id),
            external_id=user.source_key,
            user_name=user.login,
            display_name=user.name if user.name != user.login else None,
            active=kept.active,
            emails=[scim.Email(**one) for one in kept.emails] or None,
            groups=[
                scim.GroupMembership(
                    value=str(key), ref=Reference(f"{self._base}/Groups/{key}"), display=name
                )
                for key, name in groups
            ]
            or None,
        )
        return self._marked(made, "User", user.id, user.created_at, user.updated_at)

    def _group(self, group: ScimGroup, members: list[UUID]) -> scim.Group:
        made = scim.Group(
            id=str(group.id),
            external_id=group.external_id,
            display_name=group.display_name,
            members=[
                scim.GroupMember(value=str(key), ref=Reference(f"{self._base}/Users/{key}"))
                for key in members
            ]
            or None,
        )
        return self._marked(made, "Group", group.id, group.created_at, group.updated_at)

    def _marked(self, made: Any, name: str, key: UUID, created: Any, changed: Any) -> Any:
        made.meta = Meta(
            resource_type=name, location=f"{self._base}/{name}s/{key}", created=created, last_modified=changed
        )
        made.meta.version = scim.version_of(
            orjson.dumps(made.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE))
        )
        return made

    def _represent(self, resource: Any, status: int, context: Context) -> Response:
        wanted: Any = ResponseParameters.model_validate(
            {
                name: value
                for name, value in self._query_parameters().items()
                if name in {"attributes", "excludedAttributes"}
            }
        )
        body = resource.model_dump(scim_ctx=context, response_parameters=wanted)
        headers = [("ETag", resource.meta.version), ("Location", str(resource.meta.location))]
        return _json(body, status, headers)

    def _query_parameters(self) -> dict[str, Any]:
        found: dict[str, Any] = dict(self._request.GET)
        for name in ("attributes", "excludedAttributes"):
            if name in found:
                found[name] = [one.strip() for one in found[name].split(",") if one.strip()]
        return found

    def _body(self) -> dict[str, Any]:
        if (self._request.content_length or 0) > _MOST_BYTES:
            raise _Unreadable(413, "The body is too large.")
        try:
            found = orjson.loads(self._request.body)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise _Unreadable(400, "A JSON object is expected.", "invalidSyntax")
        return found


class _Unreadable(Exception):
    """The body can't be read: too large, or not a JSON object."""

    def __init__(self, status: int, text: str, scim_type: str | None = None) -> None:
        super().__init__(text)
        self.error = Error(status=status, detail=text, scim_type=scim_type)


def _tolerant(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """What providers leave out or name otherwise: an account is active unless said, and has a name to show."""
    if kind != "Users":
        return given
    known = {name.lower(): value for name, value in given.items()}
    more: dict[str, Any] = {}
    if known.get("active") is None:
        more["active"] = True
    name = known.get("name")
    if not known.get("displayname") and isinstance(name, dict):
        parts = {key.lower(): value for key, value in name.items() if isinstance(value, str)}
        whole = (
            parts.get("formatted") or f"{parts.get('givenname', '')} {parts.get('familyname', '')}".strip()
        )
        if whole:
            more["displayName"] = whole
    return {**{key: value for key, value in given.items() if value is not None}, **more}


def _narrowed(wanted: Any, kind: str) -> dict[str, Any]:
    """What of a filter the database can answer by an index: equality of one attribute, the usual question."""
    tree = None if wanted is None else wanted.ast
    if (
        not isinstance(tree, Comparison)
        or tree.op is not CompareOperator.eq
        or not isinstance(tree.value, str)
    ):
        return {}
    name = str(tree.attr_path).rpartition(":")[2].lower()
    if kind == "Users" and name == "username":
        return {"login": tree.value}
    if kind == "Users" and name == "externalid":
        return {"external_id": tree.value}
    if kind == "Groups" and name == "displayname":
        return {"name": tree.value}
    return {}


def _person(resource: scim.User) -> Person:
    login = " ".join((resource.user_name or "").split())
    if not login or len(login) > 100 or not login.isprintable():
        raise InvalidValueException(detail="userName: 1 to 100 characters are expected.")
    name = " ".join((resource.display_name or "").split())[:200] or login
    external_id = resource.external_id or None
    if external_id is not None and (len(external_id) > 200 or not external_id.isprintable()):
        raise InvalidValueException(detail="externalId: at most 200 characters are expected.")
    emails = [
        {name: getattr(one, name) for name in ("value", "type", "primary") if getattr(one, name) is not None}
        for one in (resource.emails or ())[:20]
    ]
    if any(len(str(one.get("value", ""))) > 254 or "\x00" in str(one) for one in emails):
        raise InvalidValueException(detail="emails: at most 254 characters are expected.")
    return Person(login, name, external_id, bool(resource.active), tuple(emails))


def _key(text: Any) -> UUID:
    try:
        return UUID(str(text))
    except ValueError:
        raise NotFoundException(detail="There is no such resource.") from None


def _refusal(error: ValidationError | SCIMException | AppError | _Unreadable) -> Response:
    """The answer to an error, in the words of RFC 7644 §3.12."""
    headers: list[tuple[str, str]] = []
    if isinstance(error, ValidationError):
        found = Error.from_validation_error(error.errors()[0])
    elif isinstance(error, SCIMException):
        found = error.to_error()
    elif isinstance(error, _Unreadable):
        found = error.error
    elif isinstance(error, TooManyRequests):
        text = "More accounts would be disabled than one hour allows. An administrator can allow more."
        found, headers = Error(status=429, detail=text), [("Retry-After", str(error.retry_after))]
    elif isinstance(error, Conflict):
        found = UniquenessException(detail="The name or the id is taken.").to_error()
    elif isinstance(error, NotFound):
        found = Error(status=404, detail="There is no such resource.")
    else:
        found = Error(status=error.status, detail="This is not possible.")
    return _json(found.model_dump(), int(found.status or 400), headers)


def _error(status: int, text: str, headers: list[tuple[str, str]] | None = None) -> Response:
    return _json(Error(status=status, detail=text).model_dump(), status, headers)


def _json(body: Any, status: int = 200, headers: list[tuple[str, str]] | None = None) -> Response:
    response = Response(body=orjson.dumps(body), status=status, content_type=_KIND)
    response.headers.update(headers or [])
    return response
