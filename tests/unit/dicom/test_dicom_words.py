"""Codes of the wire in words."""

from __future__ import annotations

import pytest

from broker.dicom.dimse import words
from broker.errors import PeerFault


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("rejected-1-1-7", "rejected: called AE title not recognized (1,1,7)"),
        ("rejected-1-1-3", "rejected: calling AE title not recognized (1,1,3)"),
        ("rejected-2-3-2", "rejected for now: local limit exceeded (2,3,2)"),
        ("rejected-1-2-2", "rejected: protocol version not supported (1,2,2)"),
        ("rejected-9-9-255", "rejected: unknown reason (9,9,255)"),
        ("connect-failed", "cannot connect"),
        ("deadline", "no answer in time"),
        ("tls-certificate-verify-failed", "no TLS handshake: certificate verify failed"),
        ("wrong-transfer-syntax", "the text (wrong-transfer-syntax)"),
    ],
)
def test_failures(code: str, text: str) -> None:
    assert words.failure(PeerFault("the text", code=code)) == text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0x0000, "success (0000)"),
        (0x0110, "processing failure (0110)"),
        (0x0111, "duplicate SOP instance (0111)"),
        (0xA700, "out of resources (A700)"),
        (0xA7FF, "out of resources (A7FF)"),
        (0xA900, "data set does not match SOP class (A900)"),
        (0xB000, "coercion of data elements (B000)"),
        (0xB123, "warning (B123)"),
        (0xC0DE, "cannot understand (C0DE)"),
        (0x0999, "failure (0999)"),
    ],
)
def test_statuses(code: int, text: str) -> None:
    assert words.status(code) == text
