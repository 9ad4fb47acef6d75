"""Lets a person who is signed in set up, replace and take away the own second factor, after the password."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from broker.accounts import users
from broker.accounts.deed import Deed
from broker.accounts.roles import Person
from broker.accounts.second_factor.factors import FactorState, FreshSecret
from broker.accounts.sessions import SignInPlace
from broker.accounts.signing_in import SignIn
from broker.store.accounts.users import StoredUser

T = TypeVar("T")


class NoFactorHere(Exception):
    """The user signs in by OpenID Connect: a second factor is the issuer's."""


class OwnFactor:
    """The second factor of who asks. Blocks for the database and for the hash of the password."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in, self._factors, self._database = sign_in, sign_in.factors, sign_in.database

    def state(self, person: Person) -> FactorState:
        """What the user has. Raises NoFactorHere."""
        return self._database.read(self._story(self._factors.state), person.user).result()

    def fresh(self, person: Person) -> FreshSecret | None:
        """The secret that waits for its first code, if there is one. Raises NoFactorHere, Unavailable."""
        return self._database.read(self._story(self._factors.fresh), person.user, self._sign_in.clock()).result()

    def begin(self, person: Person, password: str, place: SignInPlace) -> None:
        """Make a secret that waits for its first code.

        Raises NoFactorHere, WrongPassword, TooManyTries, Unavailable.
        """
        self._confirmed(person, password, place)
        self._database.execute(self._story(self._factors.begin), person.user, self._sign_in.clock())

    def confirm(self, person: Person, code: str, deed: Deed) -> list[str]:
        """Put the waiting secret in force; the recovery codes. Other sessions end. Raises NoFactorHere, WrongCode."""
        return self._database.execute(self._story(self._factors.confirm), person.user, code, deed, person.session)

    def new_codes(self, person: Person, password: str, place: SignInPlace, deed: Deed) -> list[str]:
        """Recovery codes in place of those of before. Raises as `begin`."""
        self._confirmed(person, password, place)
        return self._database.execute(self._story(self._factors.new_codes), person.user, deed)

    def remove(self, person: Person, password: str, place: SignInPlace, deed: Deed) -> bool:
        """Take the second factor away; False if there is none. Raises as `begin`, and FactorRequired."""
        self._confirmed(person, password, place)
        return self._database.execute(self._story(self._factors.remove), person.user, deed, person.session)

    def _confirmed(self, person: Person, password: str, place: SignInPlace) -> None:
        self.state(person)  # nobody is asked for a password that there is not
        self._sign_in.confirm(person.user, password, place)

    @staticmethod
    def _story(story: Callable[..., T]) -> Callable[..., T]:
        """A story about the user of a row, who is looked up in the same transaction."""

        def told(connection: Connection, row: int, *given: object) -> T:
            user: StoredUser = users.found(connection, row)
            if user.issuer:
                raise NoFactorHere(user.name)
            return story(connection, user, *given)

        return told
