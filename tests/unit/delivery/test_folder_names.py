"""Values of objects become names of files: none leaves its part, and different values have different names."""

from __future__ import annotations

import dataclasses
import unicodedata
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dicom.objects import ct_slice

from broker.delivery.folder.naming import NoPath, parts_of, safe
from broker.delivery.object_source import ObjectSource
from broker.dicom import uids
from broker.errors import ConfigurationError
from broker.site.nodes import parse_nodes
from broker.store.images.instances import StoredObject

FOLDER = {"name": "share", "kind": "folder", "path": "out", "roles": ["destination"]}
S3 = {"kind": "s3", "path": None, "url": "http://h:9000", "s3": {"bucket": "images"}}
UID = "1.2.3"
ITEM = StoredObject(
    id=1, sop_instance_uid=UID, sop_class_uid="1.2", transfer_syntax_uid=uids.EXPLICIT_LE, path="", data_offset=0,
    data_length=0, digest=b"", content=b"",
)  # fmt: skip


def source(data: bytes, syntax: str = uids.EXPLICIT_LE) -> Any:
    found = ObjectSource(
        None, dataclasses.replace(ITEM, content=data, data_length=len(data), transfer_syntax_uid=syntax)
    )  # type: ignore[arg-type]
    found.begin()
    return found


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("P1", "P1"), ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"), ("..", "%2E%2E"), (".", "%2E"),
        ("a/b", "a%2Fb"), ("A%2Fb", "A%252Fb"), ("CON", "%43ON"), ("nul.x", "%6Eul.x"), ("x.", "x%2E"),
        ("a:b*c?", "a%3Ab%2Ac%3F"), ("Müller^Jörg", "Müller^Jörg"), ("a\tb", "a%09b"), ("C:\\x", "C%3A+x"),
    ],
)  # fmt: skip
def test_a_hostile_value_stays_in_its_part(value: str, name: str) -> None:
    data = ct_slice(100, PatientID=value, SpecificCharacterSet="ISO_IR 192").data
    assert parts_of("{PatientID}/{SOPInstanceUID}.dcm", source(data)) == (name, f"{UID}.dcm")


@given(st.text(max_size=300), st.text(max_size=300))
def test_different_values_have_different_names(first: str, second: str) -> None:
    one, other = (unicodedata.normalize("NFC", text.strip()) for text in (first, second))
    assert (safe(first) == safe(second)) == (one == other)
    assert len(safe(first).encode()) <= 100
    assert not set(safe(first)) & set('/\\\0:*?"<>|\n')


def test_an_empty_value_makes_no_path_but_for_what_stands_in_its_place() -> None:
    empty = source(ct_slice(100, PatientID="").data)
    with pytest.raises(NoPath):
        parts_of("{PatientID}/{SOPInstanceUID}", empty)
    assert parts_of("{PatientID|nobody}/{SOPInstanceUID}", empty) == ("nobody", UID)
    long = source(ct_slice(100, PatientID="x" * 64).data)
    with pytest.raises(NoPath) as raised:
        parts_of("{PatientID}" * 4 + "/{SOPInstanceUID}", long)
    assert raised.value.code == "folder-long-path"


def test_a_deflated_object_has_a_name_too() -> None:
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = engine.compress(ct_slice(100).data) + engine.flush()
    found = source(data + bytes(len(data) % 2), "1.2.840.10008.1.2.1.99")
    assert parts_of("{PatientID}/{SOPInstanceUID}", found) == ("CANARY1", UID)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": {"name": "../{SOPInstanceUID}"}}, "begins with no dot"),
        ({"files": {"name": "/x/{SOPInstanceUID}"}}, "not empty"),
        ({"files": {"name": "{PatientID}"}}, "SOPInstanceUID"),
        ({"files": {"name": "{PixelData}/{SOPInstanceUID}"}}, "PixelData"),
        ({"files": {"name": "{Nonsense}/{SOPInstanceUID}"}}, "Nonsense"),
        ({"files": {"name": "{SOPInstanceUID}/a\0b"}}, "letters"),
        ({"path": None}, "path"),
        ({"host": "h"}, "path: a folder node"),
        ({"roles": ["destination", "mpps"]}, "the one role"),
        ({"kind": "stow", "path": None, "url": "http://h/x", "passcode": "t"}, "stow.token_file"),
        ({"kind": "stow", "path": None, "url": "http://h/x", "stow": {"token_file": "t"}}, "https only"),
        ({"kind": "stow", "path": None, "url": "https://h/x?a=b"}, "without a query"),
        ({"kind": "stow", "path": None, "url": "https://h/x", "files": {}}, "for a folder node"),
        ({"kind": "stow", "path": None}, "url"),
        ({**S3, "s3": None}, "s3 node needs one, with its bucket"),
        ({**S3, "url": None}, "url: an s3 node needs one"),
        ({**S3, "url": "http://h/?x=1"}, "without a query"),
        ({**S3, "tls": True}, "goes with a url of https"),
        ({**S3, "username": "u"}, "only a dicom node"),
        ({**S3, "s3": {"bucket": "x/../y"}}, "bucket"),
        ({**S3, "s3": {"bucket": "images", "key": "{PatientID}"}}, "SOPInstanceUID"),
        ({**S3, "s3": {"bucket": "images", "access_key": "a"}}, "together with secret_key_file"),
        ({"s3": {"bucket": "images"}}, "s3: for an s3 node"),
    ],
)
def test_what_is_no_such_node(change: dict[str, Any], words: str) -> None:
    table = {key: value for key, value in (FOLDER | change).items() if value is not None}
    with pytest.raises(ConfigurationError, match=words):
        parse_nodes([table])
