"""Makes lines of a page of the entries of a story: words for who did it and why, and the way to its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from broker.accounts.roles import Right
from broker.admin.web.words import Sentence
from broker.exams.entries import EntryKind, EntrySource, SourceKind, StoryEntry
from broker.status.causes import reason

KINDS: Mapping[EntryKind, Sentence] = {
    EntryKind.MESSAGE: Sentence("RIS"),
    EntryKind.CHANGE: Sentence("Change"),
    EntryKind.QUERY: Sentence("Worklist"),
    EntryKind.WORK: Sentence("Modality"),
    EntryKind.IMAGES: Sentence("Images"),
    EntryKind.DELIVERY: Sentence("Delivery"),
    EntryKind.FEEDBACK: Sentence("Told to the RIS"),
    EntryKind.NOTICE: Sentence("Notice"),
}
SOURCES: Mapping[SourceKind, Sentence] = {
    SourceKind.MESSAGE: Sentence("Message %(key)s"),
    SourceKind.MPPS: Sentence("Performed step %(key)s"),
    SourceKind.NODE: Sentence("Node %(key)s"),
    SourceKind.HELD: Sentence("Holds"),
    SourceKind.HELD_IMAGES: Sentence("What waits of this exam"),
    SourceKind.DISCARDED_IMAGES: Sentence("Discarded objects of this exam"),
    SourceKind.AUDIT: Sentence("Audit trail"),
}
_SENDER = "hl7:"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLine:
    """An entry as it is shown. `path` and `source`: the way to what tells more, empty where the caller may not go."""

    entry: StoryEntry
    kind: Sentence
    who: str
    reason: Sentence | None
    source: Sentence | None
    path: str


def line_of(entry: StoryEntry, rights: frozenset[Right]) -> EntryLine:
    """The line of an entry, for a caller with rights."""
    source = entry.source
    path = _path(source, rights) if source is not None else ""
    return EntryLine(
        entry=entry,
        kind=KINDS[entry.kind],
        who=_who(entry.actor),
        reason=reason(entry.code) if entry.code else None,
        source=Sentence(SOURCES[source.kind].text, {"key": source.key}) if source is not None and path else None,
        path=path,
    )


def _who(actor: str) -> str:
    """`hl7:RIS|HOSPITAL` as `RIS HOSPITAL`; others as the audit trail names them."""
    return actor.removeprefix(_SENDER).replace("|", " ").strip() if actor.startswith(_SENDER) else actor


def _path(source: EntrySource, rights: frozenset[Right]) -> str:
    """Where a source is shown; empty for who may not see it."""
    key = source.key
    paths = {
        SourceKind.MESSAGE: (Right.MESSAGES, f"/messages/{key}"),
        SourceKind.MPPS: (Right.PATIENTS, f"/performed/{key}"),
        SourceKind.NODE: (Right.STATUS, f"/nodes/{quote(key, safe='')}"),
        SourceKind.HELD: (Right.STATUS, f"/holds?{urlencode({'lane': key})}"),
        SourceKind.HELD_IMAGES: (Right.PATIENTS, f"/holds?{urlencode({'exam': key})}"),
        SourceKind.DISCARDED_IMAGES: (
            Right.PATIENTS,
            f"/holds/objects?{urlencode({'exam': key, 'state': 'discarded'})}",
        ),
        SourceKind.AUDIT: (Right.AUDIT, f"/audit?{urlencode({'object': key})}"),
    }
    right, path = paths[source.kind]
    return path if right in rights else ""
