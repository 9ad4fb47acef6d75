"""The user information item: what we write we read, pynetdicom reads it too, and nothing malformed gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pynetdicom.pdu_items import UserInformationItem

from broker.dicom.wire import pdu, user_information
from broker.dicom.wire.user_information import CommonExtended, Role, UserIdentity, UserInformation
from broker.errors import ProtocolViolation

uid = some.lists(some.integers(0, 10**6), min_size=1, max_size=8).map(lambda parts: ".".join(map(str, [2, *parts])))
short = some.binary(max_size=100)
number = some.integers(0, 65535)
informations = some.builds(
    UserInformation,
    some.just(0) | some.integers(1024, 2**32 - 1),
    uid,
    some.text("ABC_123", max_size=16),
    window=some.none() | some.tuples(number, number),
    roles=some.lists(some.builds(Role, uid, some.booleans(), some.booleans()), max_size=4).map(tuple),
    extended=some.lists(some.tuples(uid, short), max_size=4).map(tuple),
    common=some.lists(some.builds(CommonExtended, uid, uid, some.lists(uid, max_size=3).map(tuple)), max_size=3).map(
        tuple
    ),
    identity=some.none() | some.builds(UserIdentity, some.integers(1, 5), short, short, some.booleans()),
    identity_answer=some.none() | short,
)


def value_of(item: bytes) -> bytes:
    """The value of the one user information item."""
    ((kind, value),) = pdu.split_items(item)
    assert kind == 0x50
    return value


@given(informations)
def test_what_we_write_we_read(user: UserInformation) -> None:
    assert user_information.decode(value_of(user_information.encode(user))) == user


@given(informations, some.data())
def test_mutations_raise_nothing_but_a_violation(user: UserInformation, data: some.DataObject) -> None:
    raw = bytearray(value_of(user_information.encode(user)))
    for _ in range(data.draw(some.integers(1, 4))):
        raw[data.draw(some.integers(0, len(raw) - 1))] = data.draw(some.integers(0, 255))
    try:
        user_information.decode(bytes(raw[: data.draw(some.integers(0, len(raw)))]))
    except ProtocolViolation:
        return


def test_pynetdicom_reads_all_of_it() -> None:
    user = UserInformation(
        32768,
        "1.2.3.4",
        "OURS_1",
        window=(5, 3),
        roles=(Role("1.2.5", True, False),),
        extended=(("1.2.6", b"\1\2"),),
        common=(CommonExtended("1.2.7", "1.2.8", ("1.2.9", "1.2.10")),),
        identity=UserIdentity(2, b"who", b"pass", True),
    )
    item = UserInformationItem()
    item.decode(user_information.encode(user))
    assert item.maximum_length == 32768
    assert item.implementation_class_uid == "1.2.3.4"
    assert item.async_ops_window is not None
    assert item.async_ops_window.max_operations_invoked == 5
    assert item.async_ops_window.max_operations_performed == 3
    (role,) = item.role_selection.values()
    assert (role.uid, role.scu, role.scp) == ("1.2.5", 1, 0)
    (extended,) = item.ext_neg
    assert (extended.uid, extended.app_info) == ("1.2.6", b"\1\2")
    (common,) = item.common_ext_neg
    assert (common.sop_class_uid, common.service_class_uid) == ("1.2.7", "1.2.8")
    assert common.related_general_sop_class_identification == ["1.2.9", "1.2.10"]
    assert item.user_identity is not None
    assert (item.user_identity.id_type, item.user_identity.primary, item.user_identity.secondary) == (
        2, b"who", b"pass",
    )  # fmt: skip
    assert item.user_identity.response_requested


@pytest.mark.parametrize(
    "item",
    [
        pdu.pack_item(0x51, b"\0\0\1"),
        pdu.pack_item(0x51, (1023).to_bytes(4, "big")),
        pdu.pack_item(0x53, b"\0\1\0"),
        pdu.pack_item(0x54, b"\0\5" + b"1.2.3" + b"\1"),
        pdu.pack_item(0x54, b"\0"),
        pdu.pack_item(0x56, b"\0\x061.2.3"),
        pdu.pack_item(0x57, b"\0\x031.2\0\x031.2"),
        pdu.pack_item(0x58, b"\1"),
        pdu.pack_item(0x58, b"\1\0\0\x05abc"),
        pdu.pack_item(0x58, b"\1\0\xff\xff" + bytes(65000)),
        pdu.pack_item(0x54, b"\0\5" + b"1.2.\xff" + b"\1\0"),
        b"\x51\0\0",
    ],
)
def test_what_does_not_fit_is_a_violation(item: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        user_information.decode(item)
