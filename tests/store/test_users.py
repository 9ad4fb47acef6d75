"""Users and their sessions: added, changed, disabled; what ends a session. On both databases."""

from __future__ import annotations

import json
import threading
from functools import partial
from typing import Any

import pytest
from support.peers.tools import wait_until
from support.service.people import HOME, PASSWORD, TIMES, added, signed_in
from support.store.rows import all_of

from broker.accounts import sessions, users
from broker.accounts.deed import Deed
from broker.accounts.roles import RIGHTS, UserRole
from broker.accounts.sessions import MOST, SessionCheck, SignInPlace
from broker.accounts.users import LastAdmin, NewUser, UserNameTaken, UserUnknown
from broker.errors import BadContent
from broker.store.db.database import Database
from broker.store.schema import tables

AT = 1_900_000_000.0


def audit(database: Database) -> list[tuple[str, str, dict[str, Any]]]:
    rows = database.read(all_of, tables.audit).result()
    return [(row.actor, row.action, json.loads(row.detail)) for row in rows]


def add(database: Database, name: str, role: UserRole = UserRole.OPERATOR, **more: str) -> int:
    return database.submit(users.add, NewUser(name=name, role=role, **more), Deed("cli:anna", AT)).result()


def is_known(database: Database, text: str, at: float) -> bool:
    return SessionCheck(database, lambda: at, TIMES.idle).caller(text).result() is not None


def test_a_user_is_added_under_a_name_in_lower_case(database: Database) -> None:
    row = add(database, " Ben.Okoro ", full_name="Ben Okoro", language="fr")
    [user] = database.read(users.listed).result()
    assert (user.row, user.name, user.full_name, user.role) == (row, "ben.okoro", "Ben Okoro", "operator")
    assert (user.password, user.disabled_at, user.last_sign_in_at) == ("", None, None)
    with pytest.raises(UserNameTaken):
        add(database, "BEN.OKORO")
    assert audit(database) == [("cli:anna", "user.added", {"name": "ben.okoro", "role": "operator"})]


@pytest.mark.parametrize("name", ["", "-x", "a b", "ä", "a\nb", "a" * 65, "<b>", "a/b", "İ", "x\0"])
def test_a_name_is_short_and_plain(database: Database, name: str) -> None:
    with pytest.raises(BadContent, match=r"^name: "):
        add(database, name)


@pytest.mark.parametrize("value", ["x" * 101, "a\nb", "\x1b[31m", "\u202eabc", "\udcff"])
def test_a_full_name_steers_nothing(database: Database, value: str) -> None:
    with pytest.raises(BadContent, match=r"^full_name: "):
        add(database, "ben", full_name=value)


def test_two_at_once_make_one_user(database: Database) -> None:
    made: list[object] = []

    def try_it() -> None:
        try:
            made.append(add(database, "ben"))
        except UserNameTaken as error:
            made.append(error)

    threads = [threading.Thread(target=try_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(one, int) for one in made) == 1
    assert len(made) == 6


def test_a_session_tells_who_calls_and_what_he_may_now(database: Database) -> None:
    row = added(database, "ben", UserRole.OPERATOR, AT)
    session = signed_in(database, row, AT)
    check = SessionCheck(database, lambda: AT + 1, TIMES.idle)
    caller = check.caller(session.text).result()
    assert caller is not None
    assert caller.person is not None
    assert (caller.actor, caller.rights) == ("user:ben", RIGHTS[UserRole.OPERATOR])
    assert (caller.person.user, caller.person.session, caller.person.role) == (row, session.row, UserRole.OPERATOR)
    assert check.caller(session.text[:-1] + "?").result() is None
    database.submit(users.change, row, {"language": "fr"}, Deed("user:ben", AT + 1)).result()
    again = check.caller(session.text).result()
    assert again is not None
    assert again.person is not None
    assert again.person.language == "fr"


def test_secrets_are_stored_nowhere(database: Database) -> None:
    row = added(database, "ben", UserRole.OPERATOR, AT)
    session = signed_in(database, row, AT)
    for table in (tables.user_account, tables.user_session, tables.audit):
        rows = str(database.read(all_of, table).result())
        assert session.text not in rows
        assert PASSWORD not in rows


def test_a_session_ends_unused_and_ends_old(database: Database) -> None:
    row = added(database, "ben", UserRole.VIEWER, AT)
    unused, used = signed_in(database, row, AT), signed_in(database, row, AT)
    assert is_known(database, unused.text, AT + 59)
    assert not is_known(database, unused.text, AT + 1800)

    def noted(at: float) -> bool:
        return any(session.seen_at == at for session in database.read(all_of, tables.user_session).result())

    at = AT
    while at < AT + TIMES.lifetime - 1799:
        at += 1799
        assert is_known(database, used.text, at)
        wait_until(partial(noted, at), 20, "the use is noted")
    assert not is_known(database, used.text, AT + TIMES.lifetime)


def end_by_disabling(database: Database, row: int) -> None:
    assert database.submit(users.disable, row, Deed("cli:anna", AT + 1, reason="left")).result()


def end_by_role(database: Database, row: int) -> None:
    database.submit(users.change, row, {"role": "viewer"}, Deed("cli:anna", AT + 1)).result()


def end_by_password(database: Database, row: int) -> None:
    database.submit(users.set_password, row, "$argon2id$x", Deed("user:ben", AT + 1)).result()


def end_everywhere(database: Database, row: int) -> None:
    assert database.submit(sessions.end_all, row, Deed("user:ben", AT + 1)).result() == 2


@pytest.mark.parametrize("how", [end_by_disabling, end_by_role, end_by_password, end_everywhere])
def test_what_ends_all_sessions_of_a_user_and_of_nobody_else(database: Database, how: Any) -> None:
    row = added(database, "ben", UserRole.OPERATOR, AT)
    own = [signed_in(database, row, AT), signed_in(database, row, AT)]
    other = signed_in(database, added(database, "eva", UserRole.OPERATOR, AT), AT)
    how(database, row)
    assert [is_known(database, session.text, AT + 2) for session in [*own, other]] == [False, False, True]


def test_one_session_ends_by_itself(database: Database) -> None:
    row = added(database, "ben", UserRole.OPERATOR, AT)
    first, second = signed_in(database, row, AT), signed_in(database, row, AT, SignInPlace("198.51.100.1"))
    listed = database.read(sessions.listed, AT + 1, TIMES.idle, row).result()
    assert {(one.row, one.user_name, one.address) for one in listed} == {
        (first.row, "ben", "192.0.2.7"),
        (second.row, "ben", "198.51.100.1"),
    }
    assert database.submit(sessions.end, first.row, Deed("cli:anna", AT + 1, reason="lost")).result()
    assert not database.submit(sessions.end, first.row, Deed("cli:anna", AT + 1)).result()
    assert not database.submit(sessions.end, 4711, Deed("cli:anna", AT + 1)).result()
    assert [is_known(database, one.text, AT + 2) for one in (first, second)] == [False, True]
    assert audit(database)[-1] == (
        "cli:anna",
        "user.signed_out",
        {"name": "ben", "session": first.row, "reason": "lost"},
    )


def test_all_other_sessions_end(database: Database) -> None:
    row = added(database, "ben", UserRole.OPERATOR, AT)
    kept, *others = [signed_in(database, row, AT) for _ in range(3)]
    assert database.submit(sessions.end_all, row, Deed("user:ben", AT + 1), kept.row).result() == 2
    assert is_known(database, kept.text, AT + 2)
    assert not any(is_known(database, other.text, AT + 2) for other in others)


def test_the_sessions_of_a_user_are_bounded(database: Database) -> None:
    row = added(database, "ben", UserRole.OPERATOR, AT)
    made = [signed_in(database, row, AT + number) for number in range(MOST + 3)]
    known = [is_known(database, session.text, AT + MOST + 3) for session in made]
    assert known == [False] * 3 + [True] * MOST


def test_sessions_of_long_ago_are_deleted(database: Database) -> None:
    row = added(database, "ben", UserRole.OPERATOR, AT)
    signed_in(database, row, AT)
    signed_in(database, row, AT + 100 * 86_400.0)
    assert len(database.read(all_of, tables.user_session).result()) == 1


def test_a_browser_may_say_anything(database: Database) -> None:
    row = added(database, "ben", UserRole.OPERATOR, AT)
    signed_in(database, row, AT, SignInPlace("192.0.2.7", "x" * 5000))
    assert len(database.read(sessions.listed, AT, TIMES.idle).result()[0].browser) == 200


def test_a_disabled_user_is_enabled_again_without_the_old_sessions(database: Database) -> None:
    row = added(database, "ben", UserRole.OPERATOR, AT)
    session = signed_in(database, row, AT)
    assert database.submit(users.disable, row, Deed("cli:anna", AT + 1)).result()
    assert not database.submit(users.disable, row, Deed("cli:anna", AT + 2)).result()
    assert database.submit(users.enable, row, Deed("cli:anna", AT + 3)).result()
    assert not database.submit(users.enable, row, Deed("cli:anna", AT + 3)).result()
    assert not is_known(database, session.text, AT + 4)
    assert is_known(database, signed_in(database, row, AT + 4).text, AT + 5)
    actions = [action for _, action, _ in audit(database)]
    assert actions[-3:] == ["user.disabled", "user.enabled", "user.signed_in"]


def test_the_last_admin_stays(database: Database) -> None:
    anna = added(database, "anna", UserRole.ADMIN, AT)
    with pytest.raises(LastAdmin):
        database.submit(users.disable, anna, Deed("user:anna", AT)).result()
    with pytest.raises(LastAdmin):
        database.submit(users.change, anna, {"role": "viewer"}, Deed("user:anna", AT)).result()
    ben = added(database, "ben", UserRole.ADMIN, AT)
    outcomes: list[object] = []

    def disable(row: int) -> None:
        try:
            outcomes.append(database.submit(users.disable, row, Deed("cli:x", AT)).result())
        except LastAdmin as error:
            outcomes.append(error)

    threads = [threading.Thread(target=disable, args=(row,)) for row in (anna, ben)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(one, LastAdmin) for one in outcomes) == [False, True]


def test_who_never_took_a_password_does_not_count_as_an_admin(database: Database) -> None:
    anna = added(database, "anna", UserRole.ADMIN, AT)
    invited = add(database, "ben", UserRole.ADMIN)
    with pytest.raises(LastAdmin):
        database.submit(users.disable, anna, Deed("user:anna", AT)).result()
    assert database.submit(users.disable, invited, Deed("user:anna", AT)).result()


def test_a_change_says_what_and_leaves_the_rest(database: Database) -> None:
    row = add(database, "ben", full_name="Ben")
    database.submit(
        users.change, row, {"role": "viewer", "full_name": "Ben"}, Deed("cli:anna", AT, reason="less")
    ).result()
    database.submit(users.change, row, {"role": "viewer"}, Deed("cli:anna", AT)).result()  # nothing to change
    assert [entry[1:] for entry in audit(database)][1:] == [
        ("user.changed", {"name": "ben", "changed": ["role"], "role": "viewer", "before": "operator", "reason": "less"})
    ]
    with pytest.raises(ValueError):
        database.submit(users.change, row, {"role": "root"}, Deed("cli:anna", AT)).result()
    with pytest.raises(BadContent):
        database.submit(users.change, row, {"language": "xx"}, Deed("cli:anna", AT)).result()


def test_nobody_of_an_unknown_number(database: Database) -> None:
    for story, more in (
        (users.change, ({},)), (users.disable, ()), (users.enable, ()), (users.set_password, ("x",)),
    ):  # fmt: skip
        with pytest.raises(UserUnknown):
            database.submit(story, 4711, *more, Deed("cli:anna", AT)).result()
    assert database.read(users.named, "nobody").result() is None
    assert HOME.address == "192.0.2.7"
