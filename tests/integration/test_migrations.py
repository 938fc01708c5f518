"""The schema: built by migrations, equal to the models, and with the rights that each role should have."""

from __future__ import annotations

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from crm_server.local.postgres import Cluster
from crm_server.migrations import HEAD, manage
from tests.conftest import copy_database


class TestSchema:
    def test_the_migrations_make_what_the_models_declare(self, cluster: Cluster, database: str) -> None:
        assert manage.drift(cluster.url_for(manage.OWNER, database)) == []

    def test_a_difference_is_found(self, cluster: Cluster, template: str) -> None:
        copy_database(cluster, template, "kontor_drift")
        owner = manage.owner_engine(cluster.url_for(manage.OWNER, "kontor_drift"))
        with owner.begin() as connection:
            connection.execute(text("alter table crm.account add column surprise text"))
            connection.execute(text("drop index crm.ix_account_live_name"))
            connection.execute(text("drop trigger capture_update on crm.tag"))
            connection.execute(text("drop view kontor.my_contact"))
        found = " ".join(item.text for item in manage.drift(cluster.url_for(manage.OWNER, "kontor_drift")))
        assert "surprise" in found
        assert "ix_account_live_name" in found
        assert "crm.tag: the triggers of audit capture are missing" in found
        assert "kontor.my_contact: the view that lists read is missing" in found

    def test_the_newest_revision_is_named_for_the_health_check(self) -> None:
        assert ScriptDirectory.from_config(manage.config("")).get_current_head() == HEAD

    def test_migrating_again_changes_nothing(self, cluster: Cluster, database: str) -> None:
        url = cluster.url_for(manage.OWNER, database)
        manage.upgrade(url)
        assert manage.current(url) == (HEAD, HEAD)

    @pytest.mark.parametrize(
        "role, statement",
        [
            (manage.APP, "create table crm.mine (id int)"),
            (manage.APP, "alter table crm.account add column mine text"),
            (manage.APP, "drop trigger capture_update on crm.account"),
            (manage.APP, "alter table crm.account disable trigger all"),
            (manage.APP, "set session_replication_role = replica"),
            (manage.APP, "update kontor.installation set tenant = gen_random_uuid()"),
            (manage.SEALER, "select * from crm.contact"),
            (manage.SEALER, "delete from audit.event"),
            (manage.BI, "select * from crm.contact"),
            (manage.BI, 'select * from identity."user"'),
            (manage.MONITOR, "select * from crm.contact"),
        ],
    )
    def test_a_role_has_no_more_rights_than_it_needs(
        self, cluster: Cluster, database: str, role: str, statement: str
    ) -> None:
        engine = manage.owner_engine(cluster.url_for(role, database))
        with (
            engine.connect() as connection,
            pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
        ):
            connection.execute(text(statement))
