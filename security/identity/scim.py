"""What this server speaks of SCIM 2.0 (RFC 7643, RFC 7644): resources, schemas and its own description.

The resources name only attributes that are kept. Providers send many more (telephone numbers, departments);
they are ignored, and the schemas say so. scim2-models reads, checks, filters and patches them.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, ClassVar

from pydantic import Field
from scim2_models import (
    URN,
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    ETag,
    Filter,
    Meta,
    Mutability,
    Patch,
    Reference,
    Required,
    Resource,
    ResourceType,
    Schema,
    ScimPolicy,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)

MAX_RESULTS = 200
POLICY = ScimPolicy(unknown=ScimPolicy.Unknown.ignore)


class Email(ComplexAttribute):
    """An address. The primary one, or else the first, is where messages go."""

    value: Annotated[str | None, Required.true] = None
    type: str | None = None
    primary: bool | None = None


class GroupMembership(ComplexAttribute):
    """A group of a user."""

    value: Annotated[str | None, Mutability.read_only] = None
    ref: Annotated[Reference[Any] | None, Mutability.read_only] = Field(None, serialization_alias="$ref")
    display: Annotated[str | None, Mutability.read_only] = None


class User(Resource[Any]):
    """An account. `external_id` is the person's lasting id at the provider, by which log-in finds the account."""

    __schema__: ClassVar[URN] = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    external_id: Annotated[str | None, CaseExact.true] = None
    user_name: Annotated[str | None, Required.true, Uniqueness.server] = None
    display_name: str | None = None
    active: Annotated[bool | None, Required.true] = None
    emails: list[Email] | None = None
    groups: Annotated[list[GroupMembership] | None, Mutability.read_only] = None


class GroupMember(ComplexAttribute):
    """A member of a group: always a user."""

    value: Annotated[str | None, Mutability.immutable, Required.true] = None
    ref: Annotated[Reference[User] | None, Mutability.immutable] = Field(None, serialization_alias="$ref")


class Group(Resource[Any]):
    """A group of users. What it means here is said on the page of the provider."""

    __schema__: ClassVar[URN] = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    external_id: Annotated[str | None, CaseExact.true] = None
    display_name: Annotated[str | None, Required.true, Uniqueness.server] = None
    members: list[GroupMember] | None = None


RESOURCES: dict[str, type[Resource[Any]]] = {"Users": User, "Groups": Group}


def config(base: str) -> ServiceProviderConfig:
    """What this server can do (RFC 7643 §5)."""
    return ServiceProviderConfig(
        meta=Meta(resource_type="ServiceProviderConfig", location=f"{base}/ServiceProviderConfig"),
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        change_password=ChangePassword(supported=False),
        filter=Filter(supported=True, max_results=MAX_RESULTS),
        sort=Sort(supported=True),
        etag=ETag(supported=True),
        authentication_schemes=[
            AuthenticationScheme(
                name="Bearer token",
                description="A token of the provider's page, for SCIM alone.",
                spec_uri=Reference("https://www.rfc-editor.org/info/rfc6750"),
                type=AuthenticationScheme.Type.oauthbearertoken,
                primary=True,
            )
        ],
    )


def resource_types(base: str) -> list[ResourceType]:
    """The kinds of resources (RFC 7643 §6)."""
    return [
        ResourceType(
            id=name,
            name=name,
            endpoint=Reference(f"/{name}s"),
            schema_=str(model.__schema__),  # type: ignore[call-arg]
            meta=Meta(resource_type="ResourceType", location=f"{base}/ResourceTypes/{name}"),
        )
        for name, model in (("User", User), ("Group", Group))
    ]


def schemas(base: str) -> list[Schema]:
    """The attributes of everything that is answered (RFC 7643 §7)."""
    found = []
    for model in (User, Group, ServiceProviderConfig, ResourceType, Schema):
        made = model.to_schema()
        made.meta = Meta(resource_type="Schema", location=f"{base}/Schemas/{made.id}")
        found.append(made)
    return found


def version_of(body: bytes) -> str:
    """The entity tag of a resource as it would be answered (RFC 7644 §3.14)."""
    return f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'
