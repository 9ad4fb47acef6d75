"""Takes out of a support bundle what nobody else may read: secrets, addresses, and all that may be of a patient.

Documents keep what is listed here, and nothing beside it: a rule may name a patient in a value or an example.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "(hidden)"
# keys of nodes and rules whose texts are names of the site or words of ours
_WORDS = frozenset(
    {
        "name",
        "kind",
        "ae_title",
        "roles",
        "role",
        "state",
        "send",
        "action",
        "field",
        "op",
        "level",
        "notify",
        "profile",
    }
)
_ADDRESSES = frozenset({"host", "address"})
_VALUES = frozenset({"value", "values"})
_PLAIN = ("assoc.", "tag.Modality", "tag.SOPClassUID", "time.")  # beginnings of fields that are of no patient
_LEFT_OUT = frozenset({"example", "examples"})
_UID = re.compile(r"(?<![\d.])(?:2\.25(?:\.\d+)+|[0-2](?:\.\d+){4,})(?!\.?\d)")  # 2.25: of a UUID (PS3.5 B.2)
_OURS = "1.2.840.10008."  # UIDs of the standard itself
_V4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")
_V6 = re.compile(r"(?<![\w:.])[0-9a-fA-F]{0,4}:[0-9a-fA-F:]*:[0-9a-fA-F:.]*")
_SETTING = re.compile(r"\.(host|address|url|issuer|proxy|endpoint|server)$")


class Hiding:
    """What is taken out of texts. `addresses`: they may stay. `hosts`: names of machines that are addresses too."""

    def __init__(self, *, addresses: bool, hosts: Iterable[str] = ()) -> None:
        self.addresses = addresses
        names = sorted({re.escape(host) for host in hosts if "." in host}, key=len, reverse=True)
        self._hosts = re.compile(rf"(?<![\w.-])(?:{'|'.join(names)})(?![\w-])") if names else None

    def text(self, text: str) -> str:
        """A text without UIDs of others, and without addresses."""
        text = _UID.sub(lambda found: found[0] if found[0].startswith(_OURS) else "(uid)", text)
        if self.addresses:
            return text
        if self._hosts is not None:
            text = self._hosts.sub("(host)", text)
        return _V6.sub(_without_address, _V4.sub(_without_address, text))

    def setting(self, key: str, value: str) -> str:
        """The value of a key of `broker.toml`, whose secrets are masked already."""
        return HIDDEN if value and not self.addresses and _SETTING.search(key) else value

    def document(self, document: Any, key: str = "", *, plain: bool = False) -> Any:
        """Nodes or rules as they are written, with names, numbers and words of ours alone.

        `key` is that under which the part stands; `plain`: the condition around it asks for nothing of a patient.
        """
        if isinstance(document, Mapping):
            of_none = str(document.get("field", "")).startswith(_PLAIN)
            inner = {name: self.document(part, name, plain=of_none) for name, part in document.items()}
            return {name: part for name, part in inner.items() if name not in _LEFT_OUT}
        if isinstance(document, list | tuple):
            return [self.document(part, key, plain=plain) for part in document]
        if isinstance(document, bool) or document is None:
            return document
        if key in _VALUES:
            return document if plain else HIDDEN
        known = key in _WORDS or (self.addresses and key in _ADDRESSES)
        return document if known or isinstance(document, int | float) else HIDDEN

    def answer(self, document: Any, key: str = "") -> Any:
        """What REST answered, without the addresses in fields of that name."""
        if isinstance(document, dict):
            return {name: self.answer(part, name) for name, part in document.items()}
        if isinstance(document, list):
            return [self.answer(part, key) for part in document]
        return HIDDEN if document and key in _ADDRESSES and not self.addresses else document


def _without_address(found: re.Match[str]) -> str:
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return found[0]
    return found[0] if address.is_loopback or address.is_unspecified else "(address)"
