"""Signing in by password and by link: who comes in, who waits, and whom a stranger cannot keep out. Both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from support.service.people import HOME, PASSWORD, TIMES, added, cheap, factors
from support.store.rows import all_of

from broker.accounts import links, users
from broker.accounts.deed import Deed
from broker.accounts.links import LinkUnknown, NoPasswordHere
from broker.accounts.passwords import Passwords
from broker.accounts.roles import UserRole
from broker.accounts.sessions import SessionCheck, SignInPlace
from broker.accounts.signing_in import SignIn, TooManyTries, WrongPassword
from broker.accounts.tries import ACCOUNT, ADDRESS
from broker.accounts.users import NewUser, UserNameTaken
from broker.errors import BadContent
from broker.store.db.database import Database
from broker.store.schema import tables

AT = 1_900_000_000.0
SECRET = b"k" * 32


def elsewhere(number: int) -> SignInPlace:
    """A place of its own."""
    return SignInPlace(f"203.0.113.{number}")


class Door:
    """The sign-in, with a clock that stands until it is set."""

    def __init__(self, database: Database, passwords: Passwords) -> None:
        self.now = AT
        self.database = database
        self.sign_in = SignIn(database, passwords, TIMES, factors(), SECRET, lambda: self.now)

    def lets_in(self, name: str, password: str, place: SignInPlace = HOME) -> bool:
        """Whether it does; a try that must wait raises."""
        try:
            session = self.sign_in.by_password(name, password, place)
        except WrongPassword:
            return False
        return SessionCheck(self.database, lambda: self.now, TIMES.idle).caller(session.text).result() is not None

    def tries(self, count: int, name: str, place: SignInPlace = HOME) -> None:
        for _ in range(count):
            assert not self.lets_in(name, "wrong")


@pytest.fixture
def door(database: Database) -> Iterator[Door]:
    passwords = cheap()
    yield Door(database, passwords)
    passwords.close()


def test_the_right_password_lets_in_and_nothing_else_does(door: Door) -> None:
    added(door.database, "ben", UserRole.OPERATOR, AT)
    assert door.lets_in("ben", PASSWORD)
    assert door.lets_in(" BEN ", PASSWORD)
    for name, password in (
        ("ben", PASSWORD.upper()), ("ben", ""), ("ben", PASSWORD + " "), ("nobody", PASSWORD), ("", ""),
        ("ben\0", PASSWORD), ("ben", "\0\udcff"), ("x" * 9999, "y" * 9999), ("' OR 1=1 --", "x"),
    ):  # fmt: skip
        assert not door.lets_in(name, password)


def test_who_has_no_password_or_is_disabled_does_not_come_in(door: Door) -> None:
    database = door.database
    database.submit(users.add, NewUser(name="new", role=UserRole.VIEWER), Deed("cli:anna", AT)).result()
    row = added(database, "ben", UserRole.OPERATOR, AT)
    database.submit(users.disable, row, Deed("cli:anna", AT)).result()
    assert not door.lets_in("new", "")
    assert not door.lets_in("ben", PASSWORD)


def test_each_try_stands_in_the_audit_trail_and_no_unknown_name_does(door: Door) -> None:
    added(door.database, "ben", UserRole.OPERATOR, AT)
    door.lets_in("ben", "wrong")
    door.lets_in("my secret typed into the wrong field", "x")
    door.lets_in("ben", PASSWORD)
    rows = door.database.read(all_of, tables.audit).result()[2:]
    assert [(row.actor, row.action, row.address) for row in rows] == [
        ("stranger", "user.sign_in_refused", "192.0.2.7"),
        ("user:ben", "user.signed_in", "192.0.2.7"),
    ]
    assert "secret" not in str(door.database.read(all_of, tables.sign_in_try).result())


def test_wrong_tries_must_wait_and_the_right_one_too(door: Door) -> None:
    added(door.database, "ben", UserRole.OPERATOR, AT)
    door.tries(ACCOUNT.size, "ben")
    with pytest.raises(TooManyTries) as caught:
        door.lets_in("ben", PASSWORD)
    assert caught.value.seconds == ACCOUNT.seconds
    door.now += ACCOUNT.seconds / 2
    with pytest.raises(TooManyTries) as caught:
        door.lets_in("ben", PASSWORD)
    assert caught.value.seconds == ACCOUNT.seconds / 2  # what was refused did not count
    door.now += ACCOUNT.seconds / 2
    assert door.lets_in("ben", PASSWORD)
    door.tries(ACCOUNT.size, "ben")  # the right one has emptied the bucket


def test_an_unknown_name_waits_like_a_known_one(door: Door) -> None:
    added(door.database, "ben", UserRole.OPERATOR, AT)
    waits = []
    for name, place in (("ben", elsewhere(1)), ("nobody", elsewhere(2))):
        door.tries(ACCOUNT.size, name, place)
        with pytest.raises(TooManyTries) as caught:
            door.lets_in(name, "wrong", place)
        waits.append(caught.value.seconds)
    assert waits[0] == waits[1]


def test_an_address_has_a_limit_over_all_names(door: Door) -> None:
    for number in range(ADDRESS.size):
        assert not door.lets_in(f"name{number}", "wrong")
    with pytest.raises(TooManyTries) as caught:
        door.lets_in("another", "wrong")
    assert caught.value.seconds == ADDRESS.seconds
    assert not door.lets_in("another", "wrong", elsewhere(1))


def test_an_own_account_does_not_empty_the_bucket_of_its_address(door: Door) -> None:
    added(door.database, "ben", UserRole.OPERATOR, AT)
    added(door.database, "anna", UserRole.ADMIN, AT)
    for _ in range(ADDRESS.size // 5):
        assert door.lets_in("ben", PASSWORD)
        for number in range(5):
            assert not door.lets_in(f"name{number}", "wrong")
    with pytest.raises(TooManyTries):
        door.lets_in("anna", "wrong")


def test_strangers_cannot_keep_a_known_admin_out(door: Door) -> None:
    added(door.database, "anna", UserRole.ADMIN, AT)
    assert door.lets_in("anna", PASSWORD)
    for hour in range(48):  # from many addresses, as often as they are let
        door.now = AT + hour * 3600
        refused = 0
        for number in range(30):
            try:
                assert not door.lets_in("anna", "wrong", elsewhere(number))
            except TooManyTries:
                refused += 1
        assert refused == 30 - ACCOUNT.size
    assert door.lets_in("anna", PASSWORD)
    with pytest.raises(TooManyTries):  # from where she never was she waits with the strangers
        door.lets_in("anna", PASSWORD, elsewhere(99))


def test_guesses_at_once_are_counted_one_by_one(door: Door) -> None:
    added(door.database, "ben", UserRole.OPERATOR, AT)
    outcomes: list[str] = []

    def guess() -> None:
        try:
            door.lets_in("ben", "wrong")
            outcomes.append("wrong")
        except TooManyTries:
            outcomes.append("wait")

    threads = [threading.Thread(target=guess) for _ in range(ACCOUNT.size + 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count("wrong"), outcomes.count("wait")) == (ACCOUNT.size, 6)


def test_a_clock_that_is_set_back_lets_nobody_wait_longer(door: Door) -> None:
    door.tries(ACCOUNT.size, "ben")
    door.now -= 86_400
    with pytest.raises(TooManyTries) as caught:
        door.lets_in("ben", "wrong")
    assert caught.value.seconds == ACCOUNT.seconds


def test_what_was_tried_is_forgotten(door: Door) -> None:
    door.tries(3, "ben", elsewhere(1))
    door.now += 2 * 86_400
    door.tries(1, "eva", elsewhere(2))
    assert len(door.database.read(all_of, tables.sign_in_try).result()) == 2


def test_a_hash_of_before_is_renewed(door: Door) -> None:
    dearer = Passwords(memory=16, passes=1, lanes=1)
    row = added(door.database, "ben", UserRole.OPERATOR, AT)
    again = Door(door.database, dearer)
    assert again.lets_in("ben", PASSWORD)
    assert "$m=16," in door.database.read(users.found, row).result().password
    assert again.lets_in("ben", PASSWORD)
    dearer.close()


def test_who_changes_something_important_proves_it_again(door: Door) -> None:
    row = added(door.database, "ben", UserRole.OPERATOR, AT)
    door.sign_in.confirm(row, PASSWORD, HOME)
    for _ in range(ACCOUNT.size):
        with pytest.raises(WrongPassword):
            door.sign_in.confirm(row, "wrong", HOME)
    with pytest.raises(TooManyTries):
        door.sign_in.confirm(row, PASSWORD, HOME)


def test_the_first_admin_is_made_once(door: Door) -> None:
    database = door.database
    replaced = database.submit(links.first_admin, AT).result()
    link = database.submit(links.first_admin, AT).result()
    assert replaced is not None
    assert link is not None
    old, text = replaced.path.removeprefix("/first/"), link.path.removeprefix("/first/")
    assert [database.read(links.open_first_admin, one, AT).result() for one in (old, text, "x")] == [False, True, False]
    with pytest.raises(LinkUnknown):
        database.submit(links.make_first_admin, old, "eve", "$x", AT, "192.0.2.7").result()
    with pytest.raises(BadContent):
        database.submit(links.make_first_admin, text, "no name", "$x", AT, "192.0.2.7").result()
    user = database.submit(links.make_first_admin, text, "Anna", "$x", AT, "192.0.2.7").result()  # the link still works
    assert (user.name, user.role, user.password) == ("anna", "admin", "$x")
    with pytest.raises(LinkUnknown):
        database.submit(links.make_first_admin, text, "eve", "$x", AT, "192.0.2.7").result()
    assert database.submit(links.first_admin, AT).result() is None
    assert not database.read(links.open_first_admin, text, AT).result()


def test_a_link_for_the_first_admin_is_void_once_there_is_one(door: Door) -> None:
    database = door.database
    link = database.submit(links.first_admin, AT).result()
    assert link is not None
    added(database, "anna", UserRole.ADMIN, AT)
    text = link.path.removeprefix("/first/")
    assert not database.read(links.open_first_admin, text, AT).result()
    with pytest.raises(LinkUnknown):
        database.submit(links.make_first_admin, text, "eve", "$x", AT, "192.0.2.7").result()


def test_a_taken_name_does_not_use_up_the_link(door: Door) -> None:
    database = door.database
    added(database, "ben", UserRole.OPERATOR, AT)
    link = database.submit(links.first_admin, AT).result()
    assert link is not None
    text = link.path.removeprefix("/first/")
    with pytest.raises(UserNameTaken):
        database.submit(links.make_first_admin, text, "ben", "$x", AT, "192.0.2.7").result()
    assert database.submit(links.make_first_admin, text, "anna", "$x", AT, "192.0.2.7").result().name == "anna"


def test_an_invitation_gives_a_password_once(door: Door) -> None:
    database = door.database
    row = database.submit(users.add, NewUser(name="ben", role=UserRole.OPERATOR), Deed("cli:anna", AT)).result()
    replaced = database.submit(links.invite, row, Deed("cli:anna", AT)).result().path.removeprefix("/invite/")
    text = database.submit(links.invite, row, Deed("cli:anna", AT)).result().path.removeprefix("/invite/")
    looked = [database.read(links.invited, one, AT).result() for one in (replaced, text, "x")]
    assert [user.name if user else None for user in looked] == [None, "ben", None]
    assert database.submit(links.accept, text, "$x", AT, "192.0.2.7").result().password == "$x"
    for used in (text, replaced):
        with pytest.raises(LinkUnknown):
            database.submit(links.accept, used, "$y", AT, "192.0.2.7").result()
    assert text not in str(database.read(all_of, tables.sign_in_link).result())


def test_two_who_use_a_link_at_once_are_one(door: Door) -> None:
    database = door.database
    row = database.submit(users.add, NewUser(name="ben", role=UserRole.OPERATOR), Deed("cli:anna", AT)).result()
    text = database.submit(links.invite, row, Deed("cli:anna", AT)).result().path.removeprefix("/invite/")
    outcomes: list[bool] = []

    def use(number: int) -> None:
        try:
            database.submit(links.accept, text, f"$x{number}", AT, "192.0.2.7").result()
            outcomes.append(True)
        except LinkUnknown:
            outcomes.append(False)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 5 + [True]


def test_links_end(door: Door) -> None:
    database = door.database
    row = database.submit(users.add, NewUser(name="ben", role=UserRole.OPERATOR), Deed("cli:anna", AT)).result()
    link = database.submit(links.invite, row, Deed("cli:anna", AT)).result()
    text = link.path.removeprefix("/invite/")
    assert database.read(links.invited, text, link.expires_at - 1).result() is not None
    assert database.read(links.invited, text, link.expires_at).result() is None
    first = database.submit(links.first_admin, AT).result()
    assert first is not None
    assert not database.read(links.open_first_admin, first.path.removeprefix("/first/"), first.expires_at).result()
    assert database.read(links.invited, first.path.removeprefix("/first/"), AT).result() is None  # nor the other way
    database.submit(users.disable, row, Deed("cli:anna", AT)).result()
    assert database.read(links.invited, text, AT).result() is None
    with pytest.raises(NoPasswordHere):
        database.submit(links.invite, row, Deed("cli:anna", AT)).result()
