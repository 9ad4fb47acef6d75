"""Decides which authority an identifier is of, however it is named. Pure.

An authority is named by a namespace, by a universal ID, or by both (HD, HL7 2.5.1 §2.A.33). A message with both teaches
that they belong together. From then on the universal ID alone means the same as the namespace, which is the key under
which identifiers are stored. The first pair stands: a later one that contradicts it is not learnt, and its identifiers
are kept apart, because two patients that become one by mistake are worse than one that stays two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from broker.model.authority import AuthorityUse, KnownAuthority
from broker.model.order import Document, EntityId

# gives an identifier under the key of its authority; the text is where the message has it
Settle = Callable[[AuthorityUse, EntityId, str], EntityId]

_OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*)){2,}", re.ASCII)
_URN = re.compile(r"urn:oid:", re.ASCII | re.IGNORECASE)
LOCAL_TYPES = frozenset({"L", "M", "N", "RANDOM"})  # of table 0301: such an ID is unique nowhere else


@dataclass(frozen=True, slots=True)
class Decision:
    """The key of an authority. `learns`: the two names are new; `joins`: what is stored by universal ID alone is its.

    `contradicts` says which stored pair stands against it, in words for the sender.
    """

    key: str
    learns: bool = False
    contradicts: str = ""


def universal(text: str, kind: str = "") -> str:
    """A universal ID as it is compared; empty for one that its type calls local."""
    return "" if kind.upper() in LOCAL_TYPES else _URN.sub("", text.strip(), count=1)


def from_item(number: str, items: Sequence[Document]) -> EntityId:
    """An identifier with the authority that an issuer sequence names (PS3.3 table 10-17)."""
    if not items:
        return EntityId(number)
    item = items[0]
    universal_id = universal(item.get("UniversalEntityID", ""), item.get("UniversalEntityIDType", ""))
    return EntityId(number, item.get("LocalNamespaceEntityID") or item.get("UniversalEntityID") or "", universal_id)


def is_oid(text: str) -> bool:
    """True for an object identifier."""
    return _OID.fullmatch(text) is not None


def names(identifier: EntityId) -> tuple[str, str]:
    """Namespace and universal ID of an identifier's authority; an OID in the place of a namespace is one."""
    if not identifier.universal and not identifier.issuer[:1].isdigit() and ":" not in identifier.issuer:
        return identifier.issuer, ""  # a namespace, as in most messages
    issuer = _URN.sub("", identifier.issuer, count=1)
    if identifier.universal and identifier.universal != issuer and not _OID.fullmatch(issuer):
        return identifier.issuer, identifier.universal
    if issuer and (issuer == identifier.universal or _OID.fullmatch(issuer)):
        return "", issuer
    return identifier.issuer, identifier.universal if not identifier.issuer else ""


def may_be_one(one: EntityId, other: EntityId) -> bool:
    """True unless the issuers of two identifiers say that these are of two authorities; an absent one says nothing."""
    (mine, my_id), (its, its_id) = names(one), names(other)
    if mine and its:
        return mine == its
    return my_id == its_id if my_id and its_id else True


def surely_one(one: EntityId, other: EntityId) -> bool:
    """True if two issuers are the same by one of their names, or one of them is absent."""
    if not one.issuer or not other.issuer:
        return True
    return any(mine == its for mine, its in zip(names(one), names(other), strict=True) if mine)


def decide(use: AuthorityUse, namespace: str, universal_id: str, known: Collection[KnownAuthority]) -> Decision:
    """The key of an authority with a universal ID; `known` are the pairs that have one of its two names.

    What one use has told counts for others that say nothing against it.
    """
    own = [pair for pair in known if pair.use is use]
    if not namespace:
        return Decision(_namespace_of(use, universal_id, known) or universal_id)
    if any((pair.namespace, pair.universal_id) == (namespace, universal_id) for pair in own):
        return Decision(namespace)
    if not own:
        return Decision(namespace, learns=True)
    if any(pair.namespace == namespace for pair in own):
        return Decision(universal_id, contradicts="The namespace of the authority is known with another universal ID")
    return Decision(namespace, contradicts="The universal ID of the authority is known with another namespace")


def _namespace_of(use: AuthorityUse, universal_id: str, known: Collection[KnownAuthority]) -> str:
    """The namespace that a universal ID alone means for a use; empty if nobody has said, or several things."""
    own = [pair for pair in known if pair.use is use]
    told = {pair.namespace for pair in own if pair.universal_id == universal_id}
    told = told or {pair.namespace for pair in known if pair.universal_id == universal_id}
    if len(told) != 1 or any(pair.namespace in told and pair.universal_id != universal_id for pair in own):
        return ""
    return next(iter(told))


def uses_that_join(pair: KnownAuthority, known: Collection[KnownAuthority]) -> list[AuthorityUse]:
    """Uses for which a pair that is learnt now says what its universal ID alone means; `known` has all others."""
    return [use for use in AuthorityUse if _namespace_of(use, pair.universal_id, [*known, pair]) == pair.namespace]


class AuthorityMemory:
    """Pairs that are stored and stay so, for the process that asks often. Knows only what never changes."""

    _MOST = 10_000

    def __init__(self) -> None:
        self._keys: dict[tuple[AuthorityUse, str, str], str] = {}

    def key(self, use: AuthorityUse, namespace: str, universal_id: str) -> str | None:
        """The key of an authority; None if the database must be asked."""
        return self._keys.get((use, namespace, universal_id))

    def note(self, pair: KnownAuthority) -> None:
        """Remember a pair that is stored."""
        if len(self._keys) >= self._MOST:
            self._keys.clear()
        for namespace in (pair.namespace, ""):
            self._keys[pair.use, namespace, pair.universal_id] = pair.namespace
