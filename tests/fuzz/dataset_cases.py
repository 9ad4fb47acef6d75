"""Data sets straight into what reads them: the walk, identity and facts of an object, the reader of a query."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple
from datetime import datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from support.worklist.worklist import document

from broker.dicom.dataset.read import decode_data_set
from broker.dicom.dataset.scan import scan
from broker.dicom.dimse.message import PeerAE
from broker.dicom.uids import DEFLATED_SYNTAXES
from broker.errors import BadContent
from broker.mpps import checks, dataset
from broker.mpps import meaning as steps
from broker.mpps.attributes import ITEMS, MPPS
from broker.orders.lookup import matching
from broker.routing.header import BASE_FIELDS, facts, identity, tags_of
from broker.worklist.answer.encoder import AnswerEncoder
from broker.worklist.query.criteria import search_criteria
from broker.worklist.query.keys import Query
from broker.worklist.query.matcher import matches
from broker.worklist.query.parse import parse
from fuzz.datasets import CT, Sample, performed, query, sample
from fuzz.reference import well_formed

PEER = PeerAE("FUZZ", "BROKER", "127.0.0.1")
FIELDS = frozenset(BASE_FIELDS) | {
    "tag.PatientName", "tag.SliceThickness", "tag.InstanceNumber", "tag.Rows", "tag.WindowCenter",
    "tag.PatientComments",
}  # fmt: skip
DOCUMENT = document(PatientName="Doe^Jane=ドウ^ジェーン")
TAGS = tags_of(FIELDS)
NOON = datetime(2030, 3, 12, 12)  # noqa: DTZ001 - the caller's local time


def verdict(thing: Sample) -> str:
    """What reception must answer to this object: empty for taken, else the code of the refusal."""
    try:
        if not thing.data:
            return "truncated"
        found = scan(thing.data, thing.transfer_syntax, TAGS)
        if len(thing.data) % 2 and thing.transfer_syntax not in DEFLATED_SYNTAXES:
            return "odd-length"
        identity(found, CT, thing.sop_instance)
    except BadContent as error:
        return error.code
    return ""


def read_object(thing: Sample) -> dict[str, tuple[str | float, ...]]:
    """Walk an object and read its facts. Raises BadContent."""
    found = scan(memoryview(thing.data), thing.transfer_syntax, TAGS)
    try:
        identity(found, CT, thing.sop_instance)
    except BadContent:
        if thing.whole:
            raise
    return facts(found, PEER, FIELDS, NOON)


def read_query(thing: Sample) -> Query:
    """Read an identifier as the worklist door does, and make a query of it. Raises BadContent."""
    return parse(decode_data_set(thing.data, thing.transfer_syntax, passes_misfits=True))


def storable(value: Any) -> bool:
    """A database and JSON can hold it: no NUL, no half of a surrogate pair, no infinity."""
    if isinstance(value, float):
        return math.isfinite(value)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def texts(value: Any) -> Iterator[str]:
    """All texts in a value of a search."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from texts(part)


def generate(rng: Random, number: int) -> tuple[str, Sample]:
    """A case: what it is for, and the bytes."""
    if rng.randrange(3):
        return "object", sample(rng, number)
    return ("identifier", query(rng)) if rng.randrange(2) else ("performed", performed(rng))


def perform(thing: Sample) -> None:
    """An N-CREATE and an N-SET of these bytes: decoded, judged both ways, matched, kept and given back."""
    try:
        found = dataset.decode(thing.data, thing.transfer_syntax)
    except BadContent:
        return
    assert not thing.cut, "a data set that is cut or too deep was taken"
    assert storable(json.dumps(found.document, ensure_ascii=False)), "a document that the database cannot take"
    for strict in (False, True):
        checks.created(found, strict=strict, first_completed=not strict)
        _, document = checks.changed(found, found.document, strict=strict)
        steps.outcome(document)
        steps.moment(document, "Start", ZoneInfo("Europe/Zurich"))
    for item in found.document.get(ITEMS, []):
        keys = matching.keys_of(item)
        assert all(map(storable, texts(astuple(keys)))), "a key that the database cannot take"
    dataset.encode(found.document, MPPS, thing.transfer_syntax, "ISO_IR 192")


def check(kind: str, thing: Sample) -> None:
    """Run a case. Raises AssertionError for a wrong answer, anything but BadContent for a defect."""
    if kind == "performed":
        perform(thing)
        return
    if kind == "identifier":
        with suppress(BadContent):
            asked = read_query(thing)
            assert not thing.cut, "a query that is cut or too deep was taken"
            matches(DOCUMENT, asked)
            AnswerEncoder(asked, thing.transfer_syntax, "ISO_IR 192").encode(DOCUMENT)
            assert all(map(storable, texts(astuple(search_criteria(asked))))), "a search that the database cannot take"
        return
    whole = well_formed(thing.data, thing.transfer_syntax)
    try:
        found = read_object(thing)
    except BadContent as error:
        if thing.whole or (whole and error.code != "uid-mismatch"):
            raise
        return
    assert whole, "an object whose lengths do not fit was taken"
    assert not thing.cut, "an object that is cut or too deep was taken"
    for name, values in found.items():
        assert all(storable(value) for value in values), f"a fact that cannot be stored: {name}"
