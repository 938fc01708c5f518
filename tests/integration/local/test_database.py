"""What `kontor up` says of a database that it can't use."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from crm_server.local import database
from crm_server.local.errors import LocalError
from crm_server.local.postgres import Cluster
from crm_server.migrations import manage
from tests.conftest import copy_database


def test_other_tables_than_those_of_this_release_are_named_with_the_way_out(
    cluster: Cluster, template: str, tmp_path: Path
) -> None:
    copy_database(cluster, template, "kontor_other_tables")
    owner_url = cluster.url_for(manage.OWNER, "kontor_other_tables")
    with manage.owner_engine(owner_url).begin() as connection:
        connection.execute(text("alter table identity.role rename column factors to second_factors"))
    with pytest.raises(LocalError) as refused:
        database.prepare(
            tmp_path,
            {
                "KONTOR_DATABASE_URL": cluster.url_for(manage.APP, "kontor_other_tables"),
                "KONTOR_OWNER_DATABASE_URL": owner_url,
            },
        )
    said = " ".join(map(str, refused.value.args))
    assert "column role.factors does not exist" in said
    assert "kontor db check" in said
    assert "make reset" in said
