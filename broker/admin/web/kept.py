"""Seals what a person looks for, so that it can stand in the address of a list: paging, going back and a bookmark work.

The value is encrypted (AES-256-GCM) by a key of this installation and for who looks: in the history of a browser, in
the log of a proxy and in the hands of somebody else it says nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

from fastapi import Request

from broker.accounts.second_factor.seal import Seal, SealBroken
from broker.admin.web.forms import FormFields
from broker.admin.web.listing import SEALED, Asked, Table

LONGEST = 16_384  # characters of a sealed text
TYPED = 250  # characters of a filter that are handed on


class FilterSeal:
    """Seals values of filters for one person, and opens them again."""

    def __init__(self, secret: bytes) -> None:
        """`secret`: of this installation."""
        key = hashlib.blake2b(secret, digest_size=32, person=b"kept filters").digest()
        self._seal = Seal(lambda: key)

    def close(self, values: Mapping[str, str], actor: str) -> str:
        """Values as a text for an address of this person; empty for none."""
        if not values:
            return ""
        return base64.urlsafe_b64encode(self._seal.close(json.dumps(dict(values)).encode(), actor)).decode()

    def open(self, text: str, actor: str) -> dict[str, str] | None:
        """The values of a text; None for one that was not made here for this person."""
        if not text or len(text) > LONGEST:
            return None if text else {}
        try:
            found: dict[str, str] = json.loads(self._seal.open(base64.urlsafe_b64decode(text), actor))
        except (binascii.Error, SealBroken, ValueError):
            return None
        return found

    def asked(self, table: Table, request: Request) -> tuple[Asked, bool]:
        """What a request asks of a table, and whether its sealed filters cannot be read."""
        sealed = request.query_params.get(SEALED, "")
        private = self.open(sealed, request.state.actor)
        return table.ask(request.query_params, private or {}, sealed if private else ""), private is None

    def address(self, table: Table, form: FormFields, actor: str) -> str:
        """The address of a list with the filters of a form; of one that cannot be used the page there tells."""
        given = {one.name: value[:TYPED] for one in table.filters if (value := form.get(one.name))}
        private = {one.name: given.pop(one.name) for one in table.filters if one.private and one.name in given}
        asked = table.ask({}, private, self.close(private, actor))
        return replace(asked, values=given).link()
