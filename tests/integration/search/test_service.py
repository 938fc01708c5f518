"""The service in a process of its own over a real PostgreSQL: what it finds, how it keeps up, what it survives."""

from __future__ import annotations

import socket
import stat
import threading
import time
from contextlib import suppress
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, select, text

from crm_server.domain.contacts.models import Contact
from crm_server.domain.keys.services import erase_subject
from crm_server.kernel import db
from crm_server.kernel.errors import TooManyRequests
from crm_server.kernel.keys import Keys
from crm_server.models import datamap
from crm_server.search.client import SearchClient, SearchUnavailable
from crm_server.search.protocol import Find, Hits, Match, Refused, Walk
from crm_server.search.protocol import Test as Condition
from crm_server.search.server import SearchServer, SocketRefused
from crm_server.search.service import SearchService
from crm_server.services import records
from crm_server.settings import Settings
from tests.searching import searching, start, wait_until_complete, with_search

from .conftest import People, found

CONTACT = datamap()["contact"]
NAME = CONTACT.fields["name"].number


class TestFinding:
    @pytest.mark.parametrize(
        "typed",
        [
            "Grünwald",
            "grunwald",
            "GRÜN",
            "ünwal",
            "Therese Grünwald",
            "grünwald therese",
            "Grünwlad",
            "therese.g@",
            "17012345",
        ],
    )
    def test_a_person_is_found_by_any_part_of_what_is_known_of_her_and_despite_a_mistake(
        self, client: SearchClient, people: People, typed: str
    ) -> None:
        key = people.add(
            "Grünwald", "Therese", email=f"therese.g@{uuid4().hex}.example", mobile="+4917012345678"
        )
        assert key in found(client, typed, limit=100)
        people.delete(key)

    @pytest.mark.parametrize("typed", ["欧阳", "欧阳修远", "修远", "ouyang", "ouyangxiuyuan", "oyxy", "欧"])
    def test_a_chinese_name_is_found_by_signs_pinyin_and_initials(
        self, client: SearchClient, people: People, typed: str
    ) -> None:
        key = people.add("欧阳", "修远")
        assert found(client, typed)[0] == key
        people.delete(key)

    def test_a_surname_is_found_as_surnames_are_read(self, client: SearchClient, people: People) -> None:
        key = people.add("曾", "伟强")
        assert found(client, "zengweiqiang") == [key]

    @pytest.mark.parametrize("typed", ["José", "Jose\N{COMBINING ACUTE ACCENT}", "ｊｏｓé", "JOSE"])
    def test_ways_of_writing_a_letter_make_no_difference(
        self, client: SearchClient, people: People, typed: str
    ) -> None:
        key = people.add("Quiñonero", "José")
        assert key in found(client, typed)
        people.delete(key)

    def test_whole_names_come_before_beginnings_and_those_before_parts(
        self, client: SearchClient, people: People
    ) -> None:
        part, start_, whole = people.add("Hohenzorniger"), people.add("Zorniger"), people.add("Zorn")
        assert found(client, "zorn") == [whole, start_, part]

    def test_fields_that_are_not_named_are_not_looked_into(
        self, client: SearchClient, people: People
    ) -> None:
        people.add("Hidden", email="secretive@hidden.example")
        hits = client.find(Find("secretive", {CONTACT.number: (NAME,)}, 10)).hits
        assert hits == []


class TestKeepingUp:
    def test_what_is_committed_is_found_at_once_and_what_is_changed_under_its_new_name_alone(
        self, client: SearchClient, people: People
    ) -> None:
        key = people.add("Vorname-Vorher")
        assert found(client, "vorher") == [key]
        people.change(key, family_name="Nachher")
        assert found(client, "vorher") == []
        assert found(client, "nachher") == [key]
        people.delete(key)
        assert found(client, "nachher") == []

    def test_a_transaction_that_stays_open_holds_nothing_up(
        self, client: SearchClient, people: People, search_engine: Engine
    ) -> None:
        with search_engine.connect() as slow:
            slow.execute(text("select pg_current_xact_id()"))
            key = people.add("Schneller")
            assert found(client, "schneller") == [key]
            assert found(client, "schneller") == [key]
        assert found(client, "schneller") == [key]

    def test_what_commits_late_is_not_missed(
        self, client: SearchClient, people: People, search_engine: Engine
    ) -> None:
        with people.session() as session:
            late = records(session, "contact").create({"family_name": "Spätling"}).id
            session.flush()
            early = people.add("Frühling")
            assert found(client, "frühling") == [early]
            assert found(client, "spätling") == []
            db.commit(session)
        assert found(client, "spätling") == [late]

    def test_many_writers_at_once_leave_the_index_as_the_database_is(
        self, client: SearchClient, people: People
    ) -> None:
        def write(number: int) -> None:
            for turn in range(8):
                key = people.add(f"Schar{number}", f"Nummer{turn}")
                if turn % 3 == 0:
                    people.change(key, family_name=f"Gewandelt{number}")
                if turn % 3 == 1:
                    people.delete(key)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with people.session() as session:
            for word in ("Schar", "Gewandelt"):
                kept = {
                    one.id
                    for one in session.scalars(select(Contact).where(Contact.deleted_at.is_(None)))
                    if one.family_name.startswith(word)
                }
                asked = Match(CONTACT.number, Condition(NAME, "contains", word.lower()), 1000, deleted=False)
                ids = client.match(asked).ids
                assert {UUID(bytes=ids[at : at + 16]) for at in range(0, len(ids), 16)} == kept

    def test_a_purged_record_is_forgotten(self, client: SearchClient, people: People) -> None:
        key = people.add("Getilgt")
        people.delete(key)
        with people.session() as session:
            records(session, "contact").purge(key)
            db.commit(session)
        asked = Match(CONTACT.number, Condition(NAME, "contains", "getilgt"), 10)
        assert client.match(asked).ids == b""


class TestProcess:
    def test_the_socket_is_for_its_user_alone(self, client: SearchClient, search_settings: Settings) -> None:
        assert client.state().complete
        assert stat.S_IMODE(search_settings.search_socket.stat().st_mode) == 0o600

    def test_a_service_that_is_killed_comes_back_with_everything_and_clients_go_on(
        self, search_settings: Settings, people: People
    ) -> None:
        settings = with_search(search_settings)
        key = people.add("Überlebt")
        process = start(settings)
        client = SearchClient(settings.search_socket)
        wait_until_complete(client)
        assert found(client, "überlebt") == [key]
        process.kill()
        process.join(10)
        with pytest.raises(SearchUnavailable):
            client.state()
        second = people.add("Überlebt", "Zwei")
        process = start(settings)
        wait_until_complete(client)
        assert set(found(client, "überlebt")) == {key, second}
        process.terminate()
        process.join(10)

    def test_two_nodes_know_the_same(
        self, client: SearchClient, search_settings: Settings, people: People
    ) -> None:
        with searching(with_search(search_settings)) as other:
            key = people.add("Doppelknoten")
            assert found(client, "doppelknoten") == found(other, "doppelknoten") == [key]
            asked = Walk(CONTACT.number, NAME, descending=False, count=10_000)
            assert sorted(_split(client.walk(asked).ids)) == sorted(_split(other.walk(asked).ids))

    def test_a_second_service_on_one_socket_is_refused(
        self, client: SearchClient, search_settings: Settings
    ) -> None:
        assert client.state().complete
        second = SearchService(search_settings)
        with pytest.raises(SocketRefused, match="already"):
            SearchServer(search_settings.search_socket, second)
        second.stop()

    def test_nonsense_on_the_socket_ends_that_connection_alone(
        self, client: SearchClient, search_settings: Settings
    ) -> None:
        for nonsense in (b"\0\0\0\4oops", b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"):
            with socket.socket(socket.AF_UNIX) as channel:
                channel.settimeout(5)
                channel.connect(str(search_settings.search_socket))
                channel.sendall(nonsense)
                channel.shutdown(socket.SHUT_WR)
                with suppress(ConnectionResetError):
                    while channel.recv(4096):
                        pass
        assert client.state().complete

    def test_each_person_may_search_so_often_a_minute(self, search_settings: Settings) -> None:  # ENC-18
        settings = with_search(search_settings)
        limited = Settings(dict(settings.values) | {"search_limit": 3})
        with searching(limited) as client:
            asked = Match(CONTACT.number, Condition(NAME, "eq", "x"), 10, actor=uuid4().bytes)
            for _turn in range(3):
                client.match(asked)
            with pytest.raises(TooManyRequests) as caught:
                client.match(asked)
            assert 0 < caught.value.retry_after <= 60
            client.match(Match(CONTACT.number, Condition(NAME, "eq", "x"), 10, actor=uuid4().bytes))


def _split(ids: bytes) -> list[bytes]:
    return [ids[at : at + 16] for at in range(0, len(ids), 16)]


class TestErasure:
    def test_a_person_whose_keys_are_erased_is_gone_within_a_second(
        self, client: SearchClient, people: People
    ) -> None:
        key = people.add("Vergessenheit", "Valentin", email="valentin@vergessen.example")
        assert found(client, "vergessenheit") == [key]
        with people.session() as session:
            contact = session.get_one(Contact, key)
            erase_subject(session, contact.subject_id)
            db.commit(session)
        erased = time.monotonic()
        while client.find(Find("vergessenheit", {CONTACT.number: (NAME,)}, 5)).hits:
            assert time.monotonic() - erased < 1
        assert found(client, "valentin@vergessen") == []
        asked = Match(CONTACT.number, Condition(NAME, "starts_with", "Vergess"), 10)
        assert client.match(asked).ids == b""


class TestLoading:
    def test_while_it_loads_it_says_how_much_there_is_and_refuses_with_that(
        self, search_settings: Settings, search_keys: Keys
    ) -> None:
        del search_keys
        service = SearchService(search_settings)
        service.loader.total, service.loader.loaded = 200, 125
        assert (service.state().complete, service.state().percent) == (False, 62)
        for asked in (Find("a", {CONTACT.number: (NAME,)}, 5), Walk(CONTACT.number, NAME, False, 5)):
            assert service.answer(asked) == Refused("loading", 62)
        service.stop()

    def test_quick_find_answers_from_what_is_loaded_and_says_how_much_that_is(
        self, search_settings: Settings, people: People
    ) -> None:
        key = people.add("Teilgeladen")
        service = SearchService(search_settings)
        service.loader.run(lambda: False)
        service.loader.total = 2 * service.loader.loaded
        hits = service.answer(Find("teilgeladen", {CONTACT.number: (NAME,)}, 5, partial=True))
        assert isinstance(hits, Hits)
        assert ([UUID(bytes=hit.id) for hit in hits.hits], hits.percent) == ([key], 50)
        service.stop()
        people.delete(key)
