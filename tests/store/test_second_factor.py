"""The second factor of local accounts: set up, proved, replayed, lost, reset. Both databases."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from support.service.people import HOME, PASSWORD, TIMES, added, cheap, factors, signed_in
from support.store.rows import all_of

from broker.accounts import links, users
from broker.accounts.deed import Deed
from broker.accounts.own_factor import NoFactorHere, OwnFactor
from broker.accounts.roles import Person, UserRole
from broker.accounts.second_factor import factors as stories
from broker.accounts.second_factor import totp
from broker.accounts.second_factor.factors import FactorRequired, WrongCode
from broker.accounts.second_factor.second_flow import LIFE, NewFlow
from broker.accounts.second_step import MOST_WRONG, Entry, FlowUnknown, SecondStep
from broker.accounts.sessions import NewSession, SessionCheck
from broker.accounts.signing_in import SignIn, TooManyTries, WrongPassword
from broker.accounts.tries import ACCOUNT
from broker.accounts.users import NewUser
from broker.store.accounts import second_factors as rows
from broker.store.db.database import Database
from broker.store.schema import tables

AT = 1_900_000_020.0


@dataclass
class Ben:
    """A user with an app, at a clock that stands until it is set."""

    database: Database
    sign_in: SignIn
    row: int
    role: UserRole = UserRole.OPERATOR
    now: float = AT
    secret: bytes = b""
    codes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sign_in.clock = lambda: self.now
        self.step, self.own = SecondStep(self.sign_in), OwnFactor(self.sign_in)
        session = signed_in(self.database, self.row, self.now)
        self.person = Person(user=self.row, session=session.row, name="ben", role=self.role, language="")
        self.cookie = session.text

    def deed(self) -> Deed:
        return Deed("user:ben", self.now, HOME.address)

    def code(self, later: int = 0) -> str:
        """What the app shows, so many steps later."""
        return totp.code_at(self.secret, int(self.now // totp.STEP) + later)

    def scanned(self) -> None:
        """Begin to set an app up: it has the secret, nobody has confirmed it."""
        self.own.begin(self.person, PASSWORD, HOME)
        fresh = self.own.fresh(self.person)
        assert fresh is not None
        assert fresh.text in fresh.address
        self.secret = base64.b32decode(fresh.text)

    def set_up(self) -> None:
        self.scanned()
        self.codes = self.own.confirm(self.person, self.code(), self.deed())
        self.now += totp.STEP

    def flow(self) -> str:
        """Type the password: the cookie of what comes then."""
        flow = self.sign_in.by_password("ben", PASSWORD, HOME, "/nodes")
        assert isinstance(flow, NewFlow)
        return flow.text

    def is_in(self, text: str) -> bool:
        return SessionCheck(self.database, lambda: self.now, TIMES.idle).caller(text).result() is not None

    def comes_in(self, code: str) -> bool:
        try:
            entry = self.step.by_code(self.flow(), code, HOME)
        except WrongCode:
            return False
        assert entry.next_path == "/nodes"
        return self.is_in(entry.session.text)

    def audited(self) -> list[str]:
        return [row.action for row in self.database.read(all_of, tables.audit).result()]


@pytest.fixture
def ben(database: Database) -> Iterator[Ben]:
    yield from person(database)


def person(database: Database, roles: tuple[str, ...] = (), key: bytes = b"k" * 32) -> Iterator[Ben]:
    hashing = cheap()
    sign_in = SignIn(database, hashing, TIMES, factors(roles, key), b"s" * 32, lambda: AT)
    yield Ben(database, sign_in, added(database, "ben", UserRole.OPERATOR, AT - 100))
    hashing.close()


def test_without_one_nothing_is_asked(ben: Ben) -> None:
    assert isinstance(ben.sign_in.by_password("ben", PASSWORD, HOME), NewSession)
    assert ben.own.state(ben.person).since is None


def test_it_counts_from_its_first_code_on(ben: Ben) -> None:
    ben.scanned()
    assert isinstance(ben.sign_in.by_password("ben", PASSWORD, HOME), NewSession)  # nobody is shut out
    with pytest.raises(WrongCode):
        ben.own.confirm(ben.person, "000000", ben.deed())
    codes = ben.own.confirm(ben.person, ben.code(), ben.deed())
    assert (len(codes), ben.own.fresh(ben.person)) == (10, None)
    with pytest.raises(WrongCode):
        ben.own.confirm(ben.person, ben.code(1), ben.deed())  # it is confirmed once
    state = ben.own.state(ben.person)
    assert (state.since, state.codes_left, state.required) == (AT, 10, False)
    assert not ben.comes_in(ben.code())  # the code that confirmed it was used
    ben.now += totp.STEP
    assert ben.comes_in(ben.code())


def test_the_other_sessions_end_when_it_changes(ben: Ben) -> None:
    other = signed_in(ben.database, ben.row, ben.now)
    ben.set_up()
    assert (ben.is_in(ben.cookie), ben.is_in(other.text)) == (True, False)
    other = signed_in(ben.database, ben.row, ben.now)
    assert ben.own.remove(ben.person, PASSWORD, HOME, ben.deed())
    assert (ben.is_in(ben.cookie), ben.is_in(other.text)) == (True, False)
    assert isinstance(ben.sign_in.by_password("ben", PASSWORD, HOME), NewSession)
    assert ben.database.read(all_of, tables.second_factor).result() == []
    assert ben.database.read(all_of, tables.recovery_code).result() == []
    assert not ben.own.remove(ben.person, PASSWORD, HOME, ben.deed())


def test_a_code_lets_in_once(ben: Ben) -> None:
    ben.set_up()
    assert ben.comes_in(ben.code())
    assert not ben.comes_in(ben.code())
    assert not ben.comes_in(ben.code(-1))
    assert ben.comes_in(ben.code(1))
    assert ben.database.read(all_of, tables.user_session).result()[-1].method == "password+code"


def test_of_many_who_type_it_at_once_one_comes_in(ben: Ben) -> None:
    ben.set_up()
    flows, came = [ben.flow() for _ in range(4)], []

    def enter(text: str) -> None:
        with contextlib.suppress(WrongCode):
            came.append(ben.step.by_code(text, ben.code(), HOME))

    threads = [threading.Thread(target=enter, args=(text,)) for text in flows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(came) == 1


def test_recovery_codes_stand_in_for_the_app_once_each(ben: Ben) -> None:
    ben.set_up()
    assert ben.comes_in(ben.codes[0].upper())
    assert not ben.comes_in(ben.codes[0])
    assert ben.comes_in(ben.codes[1].replace("-", " "))
    assert ben.own.state(ben.person).codes_left == 8
    assert ben.audited().count("user.recovery_code_used") == 2
    fresh = ben.own.new_codes(ben.person, PASSWORD, HOME, ben.deed())
    assert not ben.comes_in(ben.codes[2])
    assert ben.comes_in(fresh[2])


def test_a_flow_ends_after_some_wrong_codes(ben: Ben) -> None:
    ben.set_up()
    text = ben.flow()
    for _ in range(MOST_WRONG):
        with pytest.raises(WrongCode):
            ben.step.by_code(text, "no code", HOME)
    with pytest.raises(FlowUnknown):
        ben.step.by_code(text, ben.code(), HOME)
    details = [json.loads(row.detail) for row in ben.database.read(all_of, tables.audit).result()
               if row.action == "user.sign_in_refused"]  # fmt: skip
    assert details == [{"name": "ben", "wrong": "code"}] * MOST_WRONG


def test_who_knows_the_password_has_no_more_tries_for_it(ben: Ben) -> None:
    ben.set_up()
    for _ in range(ACCOUNT.size // 2):  # each time the password too
        assert not ben.comes_in("000000")
    with pytest.raises(TooManyTries):
        ben.sign_in.by_password("ben", PASSWORD, HOME)
    ben.now += ACCOUNT.size * ACCOUNT.seconds
    assert ben.comes_in(ben.code())
    assert ben.comes_in(ben.code(1))  # what was right begins anew


@pytest.mark.parametrize("change", ["password", "disable", "time", "used"])
def test_a_flow_ends_with_what_it_stands_on(ben: Ben, change: str) -> None:
    ben.set_up()
    text = ben.flow()
    assert ben.step.kind(text) == "code"
    ben.now += 1
    if change == "password":
        ben.database.execute(users.set_password, ben.row, "another hash", ben.deed())
    elif change == "disable":
        ben.database.execute(users.disable, ben.row, ben.deed())
    elif change == "time":
        ben.now += LIFE
    else:
        ben.step.by_code(text, ben.code(), HOME)
        ben.now += totp.STEP
    with pytest.raises(FlowUnknown):
        ben.step.kind(text)
    with pytest.raises(FlowUnknown):
        ben.step.by_code(text, ben.code(), HOME)
    for nonsense in ("", "x", "x" * 43, text[:-1], "\0" * 43):
        with pytest.raises(FlowUnknown):
            ben.step.kind(nonsense)


def test_a_link_for_a_new_password_does_not_go_round_it(ben: Ben) -> None:
    ben.set_up()
    link = ben.database.execute(links.invite, ben.row, ben.deed())
    encoded = ben.sign_in.passwords.hash("another tea, please").result()
    text = link.path.rpartition("/")[2]
    user = ben.database.execute(links.accept, text, encoded, ben.now, HOME.address)
    flow = ben.sign_in.by_link(user, HOME)
    assert isinstance(flow, NewFlow)
    entry = ben.step.by_code(flow.text, ben.code(), HOME)
    assert ben.is_in(entry.session.text)


def test_a_role_may_ask_for_it(database: Database) -> None:
    for ben in person(database, ("operator",)):
        text = ben.flow()
        assert ben.step.kind(text) == "set-up"
        ben.secret = base64.b32decode(ben.step.fresh(text).text)
        with pytest.raises(WrongCode):
            ben.step.by_first_code(text, "000000", HOME)
        with pytest.raises(FlowUnknown):
            ben.step.by_code(text, ben.code(), HOME)
        entry: Entry = ben.step.by_first_code(text, ben.code(), HOME)
        assert (ben.is_in(entry.session.text), len(entry.codes), entry.next_path) == (True, 10, "/nodes")
        with pytest.raises(FlowUnknown):
            ben.step.by_first_code(text, ben.code(), HOME)
        with pytest.raises(FactorRequired):
            ben.own.remove(ben.person, PASSWORD, HOME, ben.deed())
        ben.now += totp.STEP
        assert ben.comes_in(ben.code())
        added(database, "viewer", UserRole.VIEWER, AT)
        assert isinstance(ben.sign_in.by_password("viewer", PASSWORD, HOME), NewSession)


def test_replacing_it_keeps_the_old_one_until_the_new_one_works(ben: Ben) -> None:
    ben.set_up()
    old, codes = ben.secret, ben.codes
    ben.scanned()
    fresh, ben.secret = ben.secret, old
    assert ben.comes_in(ben.code())
    ben.secret = fresh
    assert not ben.comes_in(ben.code(1))
    new = ben.own.confirm(ben.person, ben.code(), ben.deed())
    ben.now += 2 * totp.STEP
    assert ben.comes_in(ben.code())
    ben.secret = old
    assert not ben.comes_in(ben.code(1))
    assert not ben.comes_in(codes[0])
    assert ben.comes_in(new[0])


def test_a_secret_that_waits_too_long_is_forgotten(ben: Ben) -> None:
    ben.scanned()
    ben.now += stories.FRESH_LIFE + 1
    assert ben.own.fresh(ben.person) is None
    with pytest.raises(WrongCode):
        ben.own.confirm(ben.person, ben.code(), ben.deed())


def test_the_password_is_asked_before_each_change(ben: Ben) -> None:
    ben.set_up()
    for change in (ben.own.begin, ben.own.new_codes, ben.own.remove):
        with pytest.raises(WrongPassword):
            change(ben.person, "wrong", HOME, *(() if change == ben.own.begin else (ben.deed(),)))  # type: ignore[operator]
    assert ben.comes_in(ben.code())
    assert ben.comes_in(ben.codes[0])


def test_an_admin_resets_it(ben: Ben) -> None:
    ben.set_up()
    admin = Deed("user:anna", ben.now, "192.0.2.1", "telephone lost")
    assert ben.database.execute(stories.reset, ben.row, admin)
    assert not ben.is_in(ben.cookie)
    assert isinstance(ben.sign_in.by_password("ben", PASSWORD, HOME), NewSession)
    assert not ben.database.execute(stories.reset, ben.row, admin)
    [row] = [
        row for row in ben.database.read(all_of, tables.audit).result() if row.action == "user.second_factor_reset"
    ]
    assert (row.actor, row.object_id, json.loads(row.detail)) == (
        "user:anna", ben.row, {"name": "ben", "reason": "telephone lost"},
    )  # fmt: skip


def test_each_change_is_a_row(ben: Ben) -> None:
    ben.set_up()
    ben.own.new_codes(ben.person, PASSWORD, HOME, ben.deed())
    ben.own.remove(ben.person, PASSWORD, HOME, ben.deed())
    assert [action for action in ben.audited() if "factor" in action or "recovery" in action] == [
        "user.second_factor_set", "user.recovery_codes_made", "user.second_factor_removed",
    ]  # fmt: skip


def test_the_database_tells_no_secret(ben: Ben) -> None:
    ben.set_up()
    kept = str([ben.database.read(all_of, getattr(tables, name)).result()
                for name in ("second_factor", "recovery_code", "sign_in_flow", "audit", "user_account")])  # fmt: skip
    assert totp.spelled(ben.secret) not in kept
    assert repr(ben.secret)[2:-1] not in kept
    assert not any(code in kept or code.replace("-", "") in kept for code in ben.codes)


def test_with_another_key_the_recovery_codes_still_count(ben: Ben) -> None:
    ben.set_up()
    ben.sign_in.factors = factors(key=b"x" * 32)
    ben.step = SecondStep(ben.sign_in)
    assert not ben.comes_in(ben.code())  # nobody comes in without one
    assert ben.comes_in(ben.codes[0])


def test_a_secret_of_another_user_opens_nothing(ben: Ben) -> None:
    ben.set_up()
    other = added(ben.database, "eva", UserRole.OPERATOR, AT)
    sealed = ben.database.read(rows.by_user, ben.row).result()
    assert sealed is not None
    ben.database.execute(rows.put_fresh, other, sealed.secret, ben.now)
    user = ben.database.read(users.found, other).result()
    assert ben.database.read(ben.sign_in.factors.fresh, user, ben.now).result() is None


def test_people_of_an_issuer_have_none(ben: Ben) -> None:
    new = NewUser(name="oidc", role=UserRole.ADMIN, issuer="https://issuer.example", subject="7")
    row = ben.database.execute(users.add, new, ben.deed())
    eva = Person(user=row, session=1, name="oidc", role=UserRole.ADMIN, language="")
    for ask in (
        lambda: ben.own.begin(eva, PASSWORD, HOME), lambda: ben.own.state(eva), lambda: ben.own.fresh(eva),
        lambda: ben.own.remove(eva, PASSWORD, HOME, ben.deed()),
    ):  # fmt: skip
        with pytest.raises(NoFactorHere):
            ask()
