"""What `broker rules` prints of conditions and of what their tests saw."""

from __future__ import annotations

from typing import Any

import pytest

from broker.cli.common import CommandRefused
from broker.cli.routing import drafts, trying
from broker.cli.routing.rules import condition


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ({"field": "tag.Modality", "value": "CT"}, 'tag.Modality is "CT"'),
        ({"field": "tag.Modality", "op": "missing"}, "tag.Modality missing"),
        ({"field": "tag.Modality", "op": "is_not", "value": "CT", "exact": True, "missing": True},
         'tag.Modality is_not "CT" exactly or is missing'),
        ({"field": "tag.ImageType", "op": "ge", "value": 3, "values": "count"}, "number of tag.ImageType ge 3"),
        ({"not": {"any": [{"field": "a", "value": 1}, {"field": "b", "value": 2}]}}, "not (a is 1 or b is 2)"),
        ({"item": "ProcedureCodeSequence", "all": [{"field": "tag.CodeValue", "value": "X"}]},
         'an item of ProcedureCodeSequence has (tag.CodeValue is "X")'),
    ],
)  # fmt: skip
def test_conditions_in_words(when: dict[str, Any], words: str) -> None:
    assert condition(when) == words


def test_facts_of_the_command_line() -> None:
    assert trying.given_facts(["assoc.calling_ae=CT1", "tag.SliceThickness=1.5", "tag.StudyDescription=a=b"]) == {
        "assoc.calling_ae": "CT1", "tag.SliceThickness": 1.5, "tag.StudyDescription": "a=b",
    }  # fmt: skip


@pytest.mark.parametrize("fact", ["tag.Nonsense=1", "tag.SliceThickness=thin", "tag.Modality", "=x", ""])
def test_facts_that_are_none_are_refused(fact: str) -> None:
    with pytest.raises(CommandRefused, match="--fact"):
        trying.given_facts([fact])


@pytest.mark.parametrize("name", ["draft:", "draft:x", "draft:-1", "draft:1e3", "draft:" + "9" * 19])
def test_what_is_no_draft_is_asked_for_nowhere(name: str) -> None:
    with pytest.raises(CommandRefused, match="write draft:NUMBER"):
        drafts.document_of(None, name)
