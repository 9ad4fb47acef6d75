"""Command sets straight into the decoder: what it takes can be read and, where it is whole, written again."""

from __future__ import annotations

from random import Random

from broker.dicom.dimse import command as cmd
from broker.errors import ProtocolViolation
from fuzz import commands as c
from fuzz.tree import encode, havoc, mutate

_NUMBERS = (cmd.COMMAND_FIELD, cmd.MESSAGE_ID, cmd.STATUS, cmd.PRIORITY, cmd.EVENT_TYPE, cmd.REMAINING)
_TEXTS = (cmd.AFFECTED_SOP_CLASS, cmd.AFFECTED_SOP_INSTANCE, cmd.MOVE_DESTINATION, cmd.ERROR_COMMENT)


def generate(rng: Random) -> tuple[bytes, int]:
    """A command set, and the Command Field it must have; -1 for one that is broken."""
    kind = rng.choice((*c.SERVICES, c.CANCEL))
    if kind == c.CANCEL:
        elements = c.cancel(rng.getrandbits(16))
    elif rng.randrange(2):
        elements = c.request(kind, "1.2.840.10008.1.1", "2.999.14.1", rng.getrandbits(16), data=bool(rng.randrange(2)))
    else:
        kind |= 0x8000
        elements = c.response(kind, rng.getrandbits(16), rng.choice(c.STATUSES), data=bool(rng.randrange(2)))
    if rng.randrange(10) == 0:
        return encode(elements), kind
    for _ in range(rng.choice((0, 0, 1, 5))):
        elements.insert(rng.randint(0, len(elements)), c.odd(rng))
    mutate(rng, elements, rng.choice((0, 1, 2, 4)))
    data = encode(elements)
    return (havoc(rng, data) if rng.randrange(3) == 0 else data), -1


def check(data: bytes, field: int) -> None:
    """Run a case. Raises AssertionError, or what a defect raises."""
    try:
        command = cmd.decode(data)
    except ProtocolViolation:
        assert field < 0, "a whole command set was refused"
        return
    assert field < 0 or command.field == field, "another Command Field"
    numbers = {element: command.number(element) for element in _NUMBERS}
    texts = {element: command.text(element) for element in _TEXTS if command.text(element).isascii()}
    tags = {element: command.tags(element) for element in (cmd.ATTRIBUTES, cmd.OFFENDING_ELEMENT)}
    again = cmd.decode(cmd.encode({**numbers, **texts, **tags}))
    assert numbers == {element: again.number(element) for element in _NUMBERS}, "a number changed on the way"
    assert all(again.text(element) == text for element, text in texts.items()), "a text changed on the way"
    assert all(again.tags(element) == found for element, found in tags.items()), "a tag changed on the way"
    assert command.has_data == (command.number(cmd.DATA_SET_TYPE, cmd.NO_DATA) != cmd.NO_DATA)
