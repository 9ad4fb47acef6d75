"""What codes mean, in words: a destination that could not is not said to refuse."""

from __future__ import annotations

import pytest

from broker.model.wording import in_english
from broker.status.causes import reason


@pytest.mark.parametrize(("code", "words"), [
    ("status-A700", "it says that it is out of resources, or it cannot take this one (status A700)"),
    ("status-A7FF", "it says that it is out of resources, or it cannot take this one (status A7FF)"),
    ("status-0110", "it could not process it, by its own fault or by that of what was sent (status 0110)"),
    ("status-0110-A710", "it could not process it, by its own fault or by that of what was sent (status 0110-A710)"),
    ("status-0213", "it has no resources left for it (status 0213)"),
    ("status-A900", "it refuses it: the object does not fit its SOP class (status A900)"),
    ("status-C123", "it refuses it: it cannot understand the object (status C123)"),
    ("status-0122", "it refuses it: it does not support this SOP class (status 0122)"),
    ("status-0112-0001", "it refuses it: it gives no reason (status 0112-0001)"),
    ("status-B000", "it took it with a warning: it has changed values (status B000)"),
    ("status-XYZ", "status-XYZ"),
])  # fmt: skip
def test_a_status_in_words(code: str, words: str) -> None:
    assert in_english(reason(code)) == words
