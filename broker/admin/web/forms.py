"""Reads the forms of pages. What is wrong with a field is a `Sentence` by its name, which is shown beside the field."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from broker.admin.bodies import aside
from broker.admin.json_text import NO_NUL
from broker.admin.problems import Problem
from broker.admin.web.words import Sentence

FieldErrors = Mapping[str, Sentence]  # by the name of the field
MOST_FIELDS = 5000
_KIND = "application/x-www-form-urlencoded"


class FormFields:
    """The fields of a form as the browser sent them; a name may stand several times."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def get(self, name: str) -> str:
        """The first value of a field, without blanks around it; empty for none."""
        return next((value.strip() for key, value in self._pairs if key == name), "")

    def typed(self, name: str) -> str:
        """The first value of a field exactly as it was typed, for passwords; empty for none."""
        return next((value for key, value in self._pairs if key == name), "")

    def first(self) -> dict[str, str]:
        """The first value of each field exactly as it was typed."""
        return dict(reversed(self._pairs))

    def all(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for key, value in self._pairs if key == name]


async def read(request: Request) -> FormFields:
    """The form in the body of a request. Raises Problem: no form, no UTF-8, NUL, too many fields."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _KIND:
        raise Problem(415, f"The body is a form: Content-Type {_KIND}")
    fields: FormFields = await aside(_parsed, await request.body())
    return fields


def _parsed(body: bytes) -> FormFields:
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, encoding="utf-8", errors="strict"
        )
    except UnicodeDecodeError:
        raise Problem(400, "A form is UTF-8") from None
    except ValueError:
        raise Problem(400, f"A form has at most {MOST_FIELDS} fields") from None
    if any("\0" in text for pair in pairs for text in pair):
        raise Problem(400, NO_NUL)
    return FormFields(pairs)


def row_number(text: str) -> int:
    """A row that a text names; 0 for none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
