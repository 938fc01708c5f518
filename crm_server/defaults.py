"""What every installation has from the first start: the built-in roles and a sales pipeline.

Runs after each migration, as the owner role; idempotent. A release that brings a new permission gives it to the
built-in roles here; roles that administrators made are theirs.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_server.domain.identity.models import Role
from crm_server.domain.pipeline.models import Pipeline, Stage
from crm_server.kernel import db
from crm_server.kernel.actor import Origin, system_actor
from crm_server.migrations import manage
from crm_server.models import datamap
from crm_server.permissions import BUILT_IN_ROLES


def ensure(owner_url: str) -> None:
    """Bring the built-in records up to this release."""
    engine = manage.owner_engine(owner_url)
    with Session(engine) as session:
        session.info[db.ACTOR] = system_actor(Origin.CLI)
        _roles(session)
        _pipeline(session)
        session.commit()


def _roles(session: Session) -> None:
    there = {role.name: role for role in session.scalars(select(Role).where(Role.built_in))}
    for built_in in BUILT_IN_ROLES:
        role = there.get(str(built_in.name))
        if role is None:
            role = Role(name=str(built_in.name), built_in=True, emergency_minutes=built_in.emergency_minutes)
            session.add(role)
        grants = built_in.grants(datamap())
        if role.permissions != grants:
            role.permissions = grants
        if role.scopes != built_in.scopes:
            role.scopes = dict(built_in.scopes)
        if role.field_rules != built_in.fields:
            role.field_rules = dict(built_in.fields)
        if role.description != str(built_in.description):
            role.description = str(built_in.description)


# Name, kind, probability in percent.
STAGES = (
    ("Prospecting", "open", 10),
    ("Qualification", "open", 25),
    ("Proposal", "open", 50),
    ("Negotiation", "open", 75),
    ("Won", "won", 100),
    ("Lost", "lost", 0),
)


def _pipeline(session: Session) -> None:
    """The first pipeline; once there is one, pipelines are the customer's."""
    if session.scalar(select(Pipeline.id).limit(1)) is not None:
        return
    pipeline = Pipeline(name="Sales", is_default=True)
    session.add(pipeline)
    session.flush()
    session.add_all(
        Stage(pipeline_id=pipeline.id, name=name, kind=kind, probability=probability, position=position)
        for position, (name, kind, probability) in enumerate(STAGES)
    )
