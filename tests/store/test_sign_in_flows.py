"""Sign-ins of several parts: kept in the database, used once, not for long, and not without end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fastapi import FastAPI
from support.service.rest import application
from support.service.visitor import Visitor
from support.store.rows import all_of
from support.web.issuer import CLIENT, SECRET, Issuer, issuing

from broker.accounts.oidc import OidcQuestion
from broker.accounts.secret_text import digest_of, new_secret
from broker.settings import load
from broker.settings.web import OidcRolesSection, OidcSection
from broker.store.accounts import flows
from broker.store.accounts.flows import StoredFlow
from broker.store.db.database import Database
from broker.store.schema import tables

FLOW = StoredFlow(kind="oidc", method="oidc", user=None, next_path="/nodes", began_at=100.0, wrong=0)


def add(database: Database, name: str, flow: StoredFlow = FLOW, until: float = 700.0, most: int = 5) -> None:
    database.execute(flows.add, digest_of(name), flow, until, most)


def take(database: Database, name: str, at: float = 200.0, kind: str = "oidc") -> StoredFlow | None:
    return database.execute(flows.take, digest_of(name), kind, at)


def test_a_flow_is_used_once(database: Database) -> None:
    add(database, "one")
    assert take(database, "one", kind="another") is None
    assert take(database, "one") == FLOW
    assert take(database, "one") is None


def test_of_many_who_use_it_at_once_one_does(database: Database) -> None:
    add(database, "one")
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: take(database, "one"), range(8)))
    assert sorted(flow is not None for flow in taken) == [False] * 7 + [True]


def test_a_flow_does_not_last(database: Database) -> None:
    add(database, "one")
    assert database.read(flows.look, digest_of("one"), "oidc", 699.9).result() == FLOW
    assert database.read(flows.look, digest_of("one"), "oidc", 700.0).result() is None
    assert take(database, "one", at=700.0) is None
    add(database, "two")
    add(database, "three", replace(FLOW, began_at=800.0), 1400.0)  # what is over goes with the next one
    assert len(database.read(all_of, tables.sign_in_flow).result()) == 1


def test_there_are_never_more_than_so_many_of_a_kind(database: Database) -> None:
    add(database, "code", replace(FLOW, kind="code", user=7))
    for number in range(12):
        add(database, str(number), replace(FLOW, began_at=100.0 + number))
    assert [number for number in range(12) if take(database, str(number)) is not None] == [7, 8, 9, 10, 11]
    assert take(database, "code", kind="code") is not None


def test_wrong_codes_are_counted(database: Database) -> None:
    add(database, "one", replace(FLOW, kind="code", user=7))
    for _ in range(3):
        database.execute(flows.count_wrong, digest_of("one"))
    flow = database.execute(lambda connection: flows.look(connection, digest_of("one"), "code", 200.0, lock=True))
    assert flow is not None
    assert (flow.wrong, flow.user) == (3, 7)


def test_the_parts_of_a_question_do_not_tell_its_secret() -> None:
    secret = new_secret()
    question, again = OidcQuestion.of(secret), OidcQuestion.of(secret)
    assert question == again
    assert len({secret, question.state, question.nonce, question.verifier}) == 4
    assert OidcQuestion.of(new_secret()).verifier != question.verifier
    assert {len(part) for part in (question.state, question.nonce, question.verifier)} == {43}  # RFC 7636 §4.1


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


def process(database: Database, issuer: Issuer) -> FastAPI:
    """The web of a process on the same database."""
    roles = OidcRolesSection(viewer=("broker-viewers",))
    section = OidcSection(issuer=issuer.address, client_id=CLIENT, client_secret=SECRET, roles=roles)
    settings = load()
    web = settings.web.model_copy(update={"oidc": section, "url": "http://broker.test"})
    return application(database, settings.model_copy(update={"web": web}))


def test_a_sign_in_goes_on_after_a_restart_and_in_another_process(database: Database, issuer: Issuer) -> None:
    before, after = process(database, issuer), process(database, issuer)
    visitor = Visitor(before)
    brought = issuer.authorize(visitor.get("/sign-in/oidc?next=/nodes", site="none").headers["Location"])
    kept = str(database.read(all_of, tables.sign_in_flow).result())
    assert visitor.cookies["broker_flow"] not in kept
    moved = Visitor(after)
    moved.cookies = dict(visitor.cookies)
    answer = moved.ask("GET", "/sign-in/oidc/back", params=brought, site="cross-site")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/nodes")
    assert database.read(all_of, tables.sign_in_flow).result() == []
