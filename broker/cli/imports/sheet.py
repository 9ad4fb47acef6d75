"""CSV with one order or step in each row. Columns are DICOM keywords or names of everyday; values stay as they are.

Rows with the same accession number (where one of them has none: order number) are one order, wherever they stand: those
with the same procedure are steps of it. An empty cell says nothing. Several values of a cell are divided by a
backslash, a code is `code^meaning^scheme`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.cli.imports.items import ImportItem
from broker.errors import BadContent
from broker.model.order import Document
from broker.orders.core.attributes import CODE
from broker.orders.documents.document import FIELDS, STATUS
from broker.orders.documents.validity import Field

MAX_FILE = 64 * 1024**2  # bytes
_LINES = frozenset({"LT", "ST", "UT"})
_FRIENDLY = {
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "name": "PatientName",
    "birth_date": "PatientBirthDate",
    "date_of_birth": "PatientBirthDate",
    "dob": "PatientBirthDate",
    "sex": "PatientSex",
    "gender": "PatientSex",
    "age": "PatientAge",
    "weight": "PatientWeight",
    "height": "PatientSize",
    "accession": "AccessionNumber",
    "order_number": "PlacerOrderNumberImagingServiceRequest",
    "placer_order_number": "PlacerOrderNumberImagingServiceRequest",
    "filler_order_number": "FillerOrderNumberImagingServiceRequest",
    "referring_physician": "ReferringPhysicianName",
    "admission": "AdmissionID",
    "visit_number": "AdmissionID",
    "ward": "CurrentPatientLocation",
    "procedure_id": "RequestedProcedureID",
    "study_uid": "StudyInstanceUID",
    "priority": "RequestedProcedurePriority",
    "description": "RequestedProcedureDescription",
    "procedure": "RequestedProcedureDescription",
    "procedure_code": "RequestedProcedureCodeSequence",
    "reason": "ReasonForTheRequestedProcedure",
    "step_id": "ScheduledProcedureStepID",
    "step_description": "ScheduledProcedureStepDescription",
    "protocol_code": "ScheduledProtocolCodeSequence",
    "station": "ScheduledStationAETitle",
    "ae_title": "ScheduledStationAETitle",
    "station_name": "ScheduledStationName",
    "location": "ScheduledProcedureStepLocation",
    "date": "ScheduledProcedureStepStartDate",
    "start_date": "ScheduledProcedureStepStartDate",
    "time": "ScheduledProcedureStepStartTime",
    "start_time": "ScheduledProcedureStepStartTime",
    "performing_physician": "ScheduledPerformingPhysicianName",
    "alerts": "MedicalAlerts",
}
_KEYS = ("AccessionNumber", "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest")


def _plain(name: str) -> str:
    """A column name without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _columns() -> dict[str, tuple[str, Field]]:
    """Section and attribute by plain name."""
    found = {
        _plain(keyword): (section, one)
        for section, fields in FIELDS.items()
        for keyword, one in fields.items()
        if keyword != STATUS and (one.vr != "SQ" or CODE.keys() <= one.items.keys())
    }
    return found | {_plain(name): found[_plain(keyword)] for name, keyword in _FRIENDLY.items()}


_COLUMNS = _columns()
Row = dict[str, dict[str, Any]]  # values by section and keyword


@dataclass(slots=True)
class _Order:
    """Rows of one order, joined as they come."""

    rows: list[int] = field(default_factory=list)
    parts: Row = field(default_factory=lambda: {"patient": {}, "visit": {}, "request": {}})
    procedures: list[Document] = field(default_factory=list)
    error: str = ""

    def add(self, number: int, row: Row) -> None:
        """Join one more row."""
        self.rows.append(number)
        for section, values in self.parts.items():
            for keyword, value in row[section].items():
                if values.setdefault(keyword, value) != value and not self.error:
                    self.error = f"{keyword} differs from row {self.rows[0]}, which has the same order number"
        procedure = next((one for one in self.procedures if _same(one, row["procedure"])), None)
        if procedure is None:
            procedure = {"steps": []}
            self.procedures.append(procedure)
        for keyword, value in row["procedure"].items():
            if procedure.setdefault(keyword, value) != value and not self.error:
                self.error = f"{keyword} differs within one procedure"
        procedure["steps"].append(row["step"])

    def item(self, name: str) -> ImportItem:
        """The order as it is to be placed."""
        place = f"{name} row{'s' if len(self.rows) > 1 else ''} {', '.join(map(str, self.rows))}"
        if self.error:
            return ImportItem(place, error=self.error)
        return ImportItem(place, {**self.parts, "procedures": self.procedures})


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Two rows speak of one procedure: by identifier, by UID, else by what is to be done."""
    for keyword in ("RequestedProcedureID", "StudyInstanceUID"):
        if keyword in one and keyword in other:
            return bool(one[keyword] == other[keyword])
    told = ("RequestedProcedureCodeSequence", "RequestedProcedureDescription")
    return all(one.get(keyword) == other.get(keyword) for keyword in told)


def read(name: str, data: bytes, encoding: str, *, skip_unknown: bool) -> Iterator[ImportItem]:
    """Orders of a CSV file, in the sequence of their first rows.

    Raises BadContent for a file that is none: unknown columns, another encoding, no header.
    """
    if len(data) > MAX_FILE:
        raise BadContent(f"more than {MAX_FILE} bytes", code="too-large")
    try:
        text = data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError:
        raise BadContent(f"not {encoding}: see --encoding", code="encoding") from None
    head = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    try:
        columns = _header(next(rows, []), skip_unknown)
        yield from _joined(name, columns, rows)
    except csv.Error:
        raise BadContent(f"row {rows.line_num}: not CSV", code="csv") from None


def _header(names: list[str], skip_unknown: bool) -> list[tuple[str, Field] | None]:
    columns = [_COLUMNS.get(_plain(name)) for name in names]
    unknown = [name for name, column in zip(names, columns, strict=True) if column is None]
    if unknown and not skip_unknown:
        shown = ", ".join("".join(c for c in name[:40] if c.isprintable()) or "(empty)" for name in unknown[:5])
        raise BadContent(f"unknown columns (see --skip-unknown): {shown}", code="columns")
    known = [one.keyword for _, one in filter(None, columns)]
    twice = sorted({keyword for keyword in known if known.count(keyword) > 1})
    if twice:
        raise BadContent(f"two columns for {twice[0]}", code="columns")
    if not known:
        raise BadContent("no header with names of columns", code="columns")
    return columns


def _joined(name: str, columns: list[tuple[str, Field] | None], rows: Iterator[list[str]]) -> Iterator[ImportItem]:
    orders: dict[tuple[str, str], _Order] = {}
    for number, cells in enumerate(rows, 2):
        if not any(cell.strip() for cell in cells):
            continue
        row: Row = {section: {} for section in FIELDS}
        if len(cells) > len(columns):
            yield ImportItem(f"{name} row {number}", error=f"{len(cells)} cells, but {len(columns)} columns")
            continue
        for cell, column in zip(cells, columns, strict=False):
            if column is not None and cell.strip():
                row[column[0]][column[1].keyword] = _value(cell.strip(), column[1])
        keys = [(keyword, row["request"][keyword]) for keyword in _KEYS if keyword in row["request"]]
        if not keys:
            text = "an accession or order number is needed: without one a second import would place it again"
            yield ImportItem(f"{name} row {number}", error=text)
            continue
        order = _found(orders, keys) or _Order()
        order.add(number, row)
        for key in keys:
            orders.setdefault(key, order)
    for order in {id(order): order for order in orders.values()}.values():
        yield order.item(name)


def _found(orders: Mapping[tuple[str, str], _Order], keys: Sequence[tuple[str, str]]) -> _Order | None:
    """The order of earlier rows with one of these numbers, if none of the numbers before that is another one."""
    for index, key in enumerate(keys):
        order = orders.get(key)
        if order and all(order.parts["request"].get(word, text) == text for word, text in keys[:index]):
            return order
    return None


def _value(cell: str, one: Field) -> Any:
    if not one.multiple or one.vr in _LINES:
        return cell
    parts = [part.strip() for part in cell.split("\\")]
    return [_code(part) if one.vr == "SQ" else part for part in parts if part]


def _code(text: str) -> Document:
    code, meaning, scheme, *_ = (*(part.strip() for part in text.split("^")), "", "")
    keyword = "CodeValue" if len(code) <= 16 else "LongCodeValue"
    return {keyword: code, "CodingSchemeDesignator": scheme or "99LOCAL", "CodeMeaning": meaning or code}
