"""What an answer to STOW-RS means: only what names the object as stored is done."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.delivery.outcome import JobVerdict
from broker.delivery.web.stow_answer import ending_of, is_away

JSON, XML = "application/dicom+json", "application/dicom+xml; charset=utf-8"
DONE, BUSY, HELD = JobVerdict.DONE, JobVerdict.BUSY, JobVerdict.REFUSED


def stored(uid: str = "1.2.3", warning: Any = None) -> bytes:
    item = {"00081155": {"vr": "UI", "Value": [uid]}} | ({"00081196": {"Value": [warning]}} if warning else {})
    return json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()


def failed(reason: Any, uid: str = "1.2.3") -> bytes:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


def xml(tag: str, inner: str) -> bytes:
    head = '<?xml version="1.0"?><NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
    uid = '<DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.3</Value></DicomAttribute>'
    sequence = f'<DicomAttribute tag="{tag}" vr="SQ"><Item number="1">{uid}{inner}</Item></DicomAttribute>'
    return (head + sequence + "</NativeDicomModel>").encode()


REASON = '<DicomAttribute tag="00081197" vr="US"><Value number="1">%d</Value></DicomAttribute>'
BOMB = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'


@pytest.mark.parametrize(
    ("status", "kind", "body", "verdict", "code"),
    [
        (200, JSON, stored(), DONE, ""),
        (200, JSON, b"[" + stored() + b"]", DONE, ""),
        (202, JSON, stored(warning=0xB000), DONE, "status-B000"),
        (200, XML, xml("00081199", ""), DONE, ""),
        (409, XML, xml("00081198", REASON % 0xA900), HELD, "status-A900"),
        (200, JSON, stored("9.9"), BUSY, "stow-unclear"),
        (200, JSON, b"", BUSY, "stow-unclear"),
        (200, "text/html", b"<html>welcome</html>", BUSY, "stow-unclear"),
        (200, JSON, None, BUSY, "stow-unclear"),
        (200, JSON, b"[" * 100_000, BUSY, "stow-unclear"),
        (200, XML, BOMB, BUSY, "stow-unclear"),
        (200, XML, b"<a>" * 1000, BUSY, "stow-unclear"),
        (200, JSON, b'{"00081199": {"Value": [7, null]}, "00081198": 5}', BUSY, "stow-unclear"),
        (204, JSON, b"", BUSY, "stow-unclear"),
        (202, JSON, failed(0xA700), BUSY, "status-A700"),
        (409, JSON, failed(0x0110), BUSY, "status-0110"),
        (409, JSON, failed(0x0122), HELD, "status-0122"),
        (409, JSON, failed(0xC123), HELD, "status-C123"),
        (409, JSON, failed("43264"), HELD, "status-A900"),
        (409, JSON, failed(0), HELD, "stow-failed"),
        (409, JSON, failed(0xB00E), HELD, "status-B00E"),
        (409, JSON, b"", HELD, "stow-409"),
        (400, JSON, b"", BUSY, "stow-400"),
        (413, JSON, b"", HELD, "stow-413"),
        (415, JSON, b"", HELD, "stow-415"),
        (500, JSON, b"boom", BUSY, "stow-500"),
    ],
)
def test_what_an_answer_means(status: int, kind: str, body: bytes | None, verdict: JobVerdict, code: str) -> None:
    ending = ending_of(status, kind, body, "1.2.3", again=False)
    assert (ending.verdict, ending.code) == (verdict, code)


@pytest.mark.parametrize("reason", [0x0111, 0xB00E])
def test_an_object_that_an_earlier_try_brought_is_done(reason: int) -> None:
    assert ending_of(409, JSON, failed(reason), "1.2.3", again=True).verdict is DONE


def test_a_failure_beside_a_success_counts() -> None:
    both = json.loads(stored()) | json.loads(failed(0xA900))
    assert ending_of(200, JSON, json.dumps(both).encode(), "1.2.3", again=False).verdict is HELD


def test_which_statuses_speak_of_the_destination() -> None:
    away = {status for status in range(100, 600) if is_away(status)}
    assert away == {*range(300, 400), 401, 403, 404, 405, 408, 410, 429, 502, 503, 504, 507}
