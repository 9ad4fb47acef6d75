"""Explains a message by a mapping profile: where each attribute of each order and step comes from. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import tzinfo

from broker.hl7.findings import Finding
from broker.hl7.message import Segments
from broker.model.order import Document
from broker.orders.inbound.reception import Interface
from broker.orders.mapping.profile import Profile
from broker.orders.mapping.provenance import OriginKind, Trace, ValueOrigin
from broker.orders.trying import preview

_ORDER, _STEP = {"visit", "request"}, {"procedure", "step"}
_DERIVED = (
    "AccessionNumber",
    "RequestedProcedureID",
    "StudyInstanceUID",
    "ScheduledProcedureStepID",
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
)


@dataclass(frozen=True, slots=True)
class Part:
    """Patient, an order, a step, or what is added to a worklist entry; each row is one attribute."""

    title: str
    rows: tuple[ValueOrigin, ...]


NOT_ASKED = (
    "the database was not asked: that a number is known, repeated or of another patient, and that two authorities "
    "contradict, is told by the door only"
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would be answered, and why the worklist entries look as they do; `limits` says what was not looked at."""

    profile: str
    code: str
    findings: tuple[Finding, ...]
    parts: tuple[Part, ...]
    answers: tuple[Document, ...]
    sent: str = ""  # the last code that leaves: CA, `none` for silence, `closed`
    acknowledgement: str = ""
    ignored: str = ""
    limits: str = NOT_ASKED


def explain(
    raw: bytes,
    profile: Profile,
    zone: tzinfo | None = None,
    *,
    interface: Interface = preview.STANDARD,
    default_station: str = "UNASSIGNED",
) -> Explanation:
    """Run a message through the door of an interface as if nothing were stored; say where every value comes from."""
    trace = Trace()
    traced = replace(profile, trace=trace)
    found = preview.preview(raw, traced, zone, interface=interface, default_station=default_station)
    answers = tuple(answer for ordered in found.ordered for answer in ordered.answers)
    parts = _mapped(trace)
    steps = [part for part in parts if part.title.startswith("step ")]
    added = []
    for number, answer in enumerate(answers, 1):
        # groups that were joined to one step cannot be told apart any more
        others = [part for part in steps if part is not steps[number - 1]] if len(steps) == len(answers) else []
        known = {(row.keyword, _text(row.value)) for part in parts if part not in others for row in part.rows}
        added.append(_added(number, answer, known, profile))
    return Explanation(
        profile=profile.name,
        code=found.code,
        findings=found.findings,
        parts=(*parts, *(part for part in added if part.rows)),
        answers=answers,
        sent=found.sent,
        acknowledgement=preview.readable(found.answer or b""),
        ignored=found.ignored,
    )


def _mapped(trace: Trace) -> list[Part]:
    """Notes as parts: the patient, then orders and steps in the order of the message. A later note replaces one."""
    parts: dict[tuple[str, int], dict[str, ValueOrigin]] = {}
    views: dict[tuple[str, int], Segments] = {}
    for view, origin in trace.notes:
        kind = "order" if origin.section in _ORDER else "step" if origin.section in _STEP else "patient"
        key = (kind, 0 if kind == "patient" else id(view))
        views[key] = view  # also keeps it alive, so that its id stays its own
        parts.setdefault(key, {})[origin.keyword] = origin
    order = {"patient": 0, "order": 1, "step": 2}
    counts = dict.fromkeys(order, 0)
    found = []
    for (kind, number), rows in sorted(parts.items(), key=lambda item: order[item[0][0]]):
        counts[kind] += 1
        where = _where(views[kind, number], {"order": ("ORC",), "step": ("OBR", "IPC")}.get(kind, ()))
        title = kind if kind == "patient" else f"{kind} {counts[kind]}{where}"
        found.append(Part(title, tuple(rows.values())))
    return found


def _where(view: Segments, names: Iterable[str]) -> str:
    segments = [segment for name in names if (segment := view.first(name))]
    return " (" + " ".join(f"{segment.name}^{segment.sequence}" for segment in segments) + ")" if segments else ""


def _added(number: int, answer: Document, known: set[tuple[str, str]], profile: Profile) -> Part:
    """What a worklist entry has that no field of the message gave: defaults, identifiers, receipt, default station."""
    defaults = {keyword: value for section in profile.defaults.values() for keyword, value in section.items()}
    rows = []
    for keyword in (*_DERIVED, *(keyword for keyword in defaults if keyword not in _DERIVED)):
        value = preview.value(answer, keyword)
        if value is None or (keyword, _text(value)) in known:
            continue
        if keyword in defaults and _text(defaults[keyword]) == _text(value):
            rows.append(ValueOrigin(section="", keyword=keyword, value=value, how=OriginKind.DEFAULT))
        elif keyword in _DERIVED:
            note = _why(keyword, value, answer)
            rows.append(ValueOrigin(section="", keyword=keyword, value=value, how=OriginKind.IDENTIFIERS, note=note))
    return Part(f"worklist entry {number}", tuple(rows))


def _why(keyword: str, value: object, answer: Document) -> str:
    """In words, where a value comes from that the message does not hold."""
    if keyword == "ScheduledStationAETitle":
        return "no station in the message, no rule fits: the default station"
    if keyword.startswith("ScheduledProcedureStepStart"):
        return "no start in the message: the time of receipt"
    sources = {
        "FillerOrderNumberImagingServiceRequest": "filler order number",
        "PlacerOrderNumberImagingServiceRequest": "placer order number",
    }
    if keyword == "RequestedProcedureID":
        sources = {"AccessionNumber": "accession number"}
    if keyword in ("AccessionNumber", "RequestedProcedureID"):
        return next((text for source, text in sources.items() if answer.get(source) == value), "generated")
    return "generated or made of the accession number" if keyword == "StudyInstanceUID" else "generated"


def _text(value: object) -> str:
    return "\\".join(map(str, value)) if isinstance(value, list) else str(value)
