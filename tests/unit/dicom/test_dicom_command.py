"""Command sets: against pynetdicom's encoding, and against arbitrary bytes."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom.dimse_messages import C_ECHO_RQ, C_FIND_RSP, C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_FIND, C_STORE
from pynetdicom.dsutils import decode as foreign_decode
from pynetdicom.dsutils import encode as foreign_encode

from broker.dicom.dimse import command as cmd
from broker.errors import ProtocolViolation

CT = "1.2.840.10008.5.1.4.1.1.2"


def foreign(message: object) -> bytes:
    encoded = foreign_encode(message.command_set, True, True)  # type: ignore[attr-defined]
    assert encoded is not None
    return encoded


def store_request() -> bytes:
    primitive = C_STORE()
    primitive.MessageID, primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = 7, UID(CT), UID("1.2.3")
    primitive.Priority, primitive.MoveOriginatorApplicationEntityTitle = 2, "MOVER"
    primitive.MoveOriginatorMessageID, primitive.DataSet = 99, BytesIO(b"x")
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    return foreign(message)


def test_a_foreign_c_store_is_read() -> None:
    found = cmd.decode(store_request())
    assert (found.field, found.message_id, found.sop_class, found.sop_instance) == (cmd.C_STORE_RQ, 7, CT, "1.2.3")
    assert found.number(cmd.PRIORITY) == 2
    assert found.text(cmd.MOVE_ORIGINATOR_AE) == "MOVER"
    assert found.number(cmd.MOVE_ORIGINATOR_MESSAGE_ID) == 99
    assert found.has_data
    assert not found.is_response


def test_a_foreign_c_echo_has_no_data() -> None:
    primitive = C_ECHO()
    primitive.MessageID, primitive.AffectedSOPClassUID = 65535, UID("1.2.840.10008.1.1")
    message = C_ECHO_RQ()
    message.primitive_to_message(primitive)
    found = cmd.decode(foreign(message))
    assert (found.field, found.message_id, found.has_data) == (cmd.C_ECHO_RQ, 65535, False)


def test_a_foreign_response_is_read() -> None:
    primitive = C_FIND()
    primitive.MessageIDBeingRespondedTo, primitive.AffectedSOPClassUID = 5, UID("1.2.840.10008.5.1.4.31")
    primitive.Status, primitive.ErrorComment, primitive.OffendingElement = 0xA900, "no such key", [0x00100020]
    message = C_FIND_RSP()
    message.primitive_to_message(primitive)
    found = cmd.decode(foreign(message))
    assert found.is_response
    assert (found.responded_to, found.status, found.text(cmd.ERROR_COMMENT)) == (5, 0xA900, "no such key")


def test_what_we_write_pydicom_reads() -> None:
    values: dict[int, int | str] = {
        cmd.AFFECTED_SOP_CLASS: CT, cmd.COMMAND_FIELD: 0x8001, cmd.MESSAGE_ID_RESPONDED: 3,
        cmd.DATA_SET_TYPE: cmd.NO_DATA, cmd.STATUS: 0xC000, cmd.OFFENDING_ELEMENT: (0x00100020,),
        cmd.ERROR_COMMENT: "odd", cmd.AFFECTED_SOP_INSTANCE: "1.2.3",
    }  # fmt: skip
    encoded = cmd.encode(values)
    assert len(encoded) % 2 == 0
    ds = foreign_decode(BytesIO(encoded), True, True)
    assert ds.CommandGroupLength == len(encoded) - 12
    assert (ds.Status, ds.ErrorComment, ds.OffendingElement) == (0xC000, "odd", 0x00100020)
    assert (ds.AffectedSOPClassUID, ds.AffectedSOPInstanceUID) == (CT, "1.2.3")
    assert list(ds.keys()) == sorted(ds.keys())
    assert foreign_encode(ds, True, True) == encoded
    assert ImplicitVRLittleEndian.is_implicit_VR


_text = some.text(some.characters(min_codepoint=33, max_codepoint=126), max_size=64)


@given(_text, _text, some.integers(0, 65535), some.integers(0, 65535))
def test_every_command_survives_the_round_trip(sop: str, comment: str, number: int, status: int) -> None:
    values: dict[int, int | str] = {
        cmd.AFFECTED_SOP_CLASS: sop, cmd.COMMAND_FIELD: 1, cmd.MESSAGE_ID: number, cmd.STATUS: status,
        cmd.ERROR_COMMENT: comment,
    }  # fmt: skip
    found = cmd.decode(cmd.encode(values))
    assert (found.sop_class, found.message_id, found.status, found.text(cmd.ERROR_COMMENT)) == (
        sop, number, status, comment,
    )  # fmt: skip


def test_absent_values_have_defaults() -> None:
    found = cmd.decode(cmd.encode({cmd.COMMAND_FIELD: 1}))
    assert (found.message_id, found.sop_class, found.sop_instance, found.has_data) == (0, "", "", False)
    assert found.number(cmd.PRIORITY, 5) == 5
    assert found.text(cmd.STATUS) == ""
    assert found.number(cmd.AFFECTED_SOP_CLASS) == 0


def test_requested_uids_stand_in_for_affected_ones() -> None:
    found = cmd.decode(
        cmd.encode({cmd.COMMAND_FIELD: 0x0110, cmd.REQUESTED_SOP_CLASS: "1.2", cmd.REQUESTED_SOP_INSTANCE: "1.3"})
    )
    assert (found.sop_class, found.sop_instance) == ("1.2", "1.3")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        cmd.encode({cmd.MESSAGE_ID: 1}),  # no command field
        store_request()[:-1],
        store_request() + b"\0\0\0",
        b"\x08\0\x05\0\x02\0\0\0\x01\0" + store_request(),  # a group that is none of a command's
        b"\0\0\0\x01\xff\xff\xff\xff\x01\0",
    ],
)
def test_malformed_commands_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        cmd.decode(data)


@given(some.binary(max_size=300))
def test_random_bytes_raise_nothing_but_a_violation(data: bytes) -> None:
    with suppress(ProtocolViolation):
        cmd.decode(data)


@given(some.data())
def test_mutated_commands_raise_nothing_but_a_violation(data: some.DataObject) -> None:
    raw = bytearray(store_request())
    for _ in range(data.draw(some.integers(1, 4))):
        raw[data.draw(some.integers(0, len(raw) - 1))] = data.draw(some.integers(0, 255))
    with suppress(ProtocolViolation):
        found = cmd.decode(bytes(raw))
        cmd.encode({cmd.COMMAND_FIELD: found.field, cmd.MESSAGE_ID_RESPONDED: found.message_id,
                    cmd.AFFECTED_SOP_CLASS: found.sop_class})  # fmt: skip
