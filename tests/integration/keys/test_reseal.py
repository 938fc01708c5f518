"""Documents follow the profile: what suite 1 sealed is sealed anew with suite 2."""

from __future__ import annotations

from sqlalchemy import text

from crm_server.domain.cases.models import CaseComment
from crm_server.domain.keys.reseal import reseal
from crm_server.domain.keys.work import KeyWork
from crm_server.kernel.actor import system_actor
from crm_server.models import datamap
from crm_server.services import records
from security.crypto.profile import Profile
from tests.integration.keys.conftest import Site


def test_every_document_gets_the_suite_of_the_profile_and_says_the_same(site: Site) -> None:
    with site.session() as session:
        case = records(session, "case").create({"title": "Printer"})
        for number in range(3):
            session.add(CaseComment(case_id=case.id, body=f"Comment {number}"))
        session.commit()
    work = KeyWork(site.keys, site.engine, site.settings, system_actor())
    assert suites(site) == {1}
    assert reseal(work, datamap()).rows == 0
    site.keys.profile = Profile.STRICT
    site.keys._columns.clear()
    assert reseal(work, datamap()).rows >= 3
    assert suites(site) == {2}
    with site.session() as session:
        bodies = {comment.body for comment in session.query(CaseComment)}
    assert bodies == {"Comment 0", "Comment 1", "Comment 2"}


def suites(site: Site) -> set[int]:
    with site.session() as session:
        return set(session.scalars(text("select get_byte(sealed_support, 1) from crm.case_comment")))
