"""Gives a sender a stored object in another transfer syntax than it was received in, converted while it is sent.

The bytes that are converted are those of `object_source`, with their SHA-256 checked. What a peer gets of an object
that turns out to be altered is no whole one.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker import telemetry
from broker.delivery.object_source import ObjectSource, SpoiledObject
from broker.dicom import uids
from broker.dicom.conversion.byte_stream import ByteStream
from broker.dicom.conversion.converting import Facts, converted, surveyed
from broker.dicom.conversion.inflating import inflated
from broker.dicom.conversion.syntaxes import short_name
from broker.errors import BadContent
from broker.model.lane import Lane
from broker.store.images.instances import StoredObject
from broker.store.images.soundness import MISSING
from broker.store.images.spool import Spool

NOT_CONVERTIBLE = "not-convertible"  # why an object is held that a destination takes in another syntax only


class ConvertedSource(ObjectSource):
    """The data set of one object in another transfer syntax. `begin` finds out whether it can be converted."""

    def __init__(self, spool: Spool, item: StoredObject, target: str) -> None:
        """`target`: one of `conversion.syntaxes.instead_of` the syntax of the object."""
        super().__init__(spool, item)
        self.transfer_syntax = target
        self.fault = ""  # what `begin` found that cannot be converted, as a code
        self._facts: Facts = {}
        self._whole: bytes | None = None

    def begin(self) -> str:
        """As `ObjectSource.begin`, and NOT_CONVERTIBLE for an object that cannot be converted. Blocks."""
        if damage := super().begin():
            return damage
        original = super().whole
        try:
            self._facts = surveyed(self._survey(original), self.item.transfer_syntax_uid, self.transfer_syntax)
            if original is not None and not self._deflated:  # a deflated one may become long
                self._whole = b"".join(self._converted(ByteStream.of_pieces(iter((original,)))))
        except BadContent as error:
            self.fault = error.code
            return NOT_CONVERTIBLE
        except SpoiledObject as error:
            return error.code
        except FileNotFoundError:
            return MISSING
        return ""

    @property
    def whole(self) -> bytes | None:
        """The converted data set, if `begin` has made it."""
        return self._whole

    def pieces(self) -> Iterator[bytes]:
        """The converted data set from its start. Raises SpoiledObject in place of the last piece. Blocks."""
        try:
            yield from self._converted(self._stream())
        except BadContent as error:  # nothing that the survey has let pass: the bytes changed meanwhile
            self.fault = error.code
            raise SpoiledObject(NOT_CONVERTIBLE) from None

    @property
    def _deflated(self) -> bool:
        return self.item.transfer_syntax_uid in uids.DEFLATED_SYNTAXES

    def _survey(self, original: bytes | None) -> ByteStream:
        """The object for a first walk, of which little is read."""
        if self._deflated:
            return self._stream()
        if original is not None:
            return ByteStream.of_pieces(iter((original,)))
        return ByteStream.of_place(self.part, self.item.data_length)

    def _stream(self) -> ByteStream:
        """The object from its start, checked."""
        pieces = super().pieces()
        return ByteStream.of_pieces(inflated(pieces, self.item.data_length) if self._deflated else pieces)

    def _converted(self, stream: ByteStream) -> Iterator[bytes]:
        return converted(stream, self.item.transfer_syntax_uid, self.transfer_syntax, self._facts)


def conversion_note(lane: str, source: ObjectSource) -> str:
    """Count an object that a node took in another syntax than it came in; a code for it, empty if it went as it was."""
    before, after = source.item.transfer_syntax_uid, source.transfer_syntax
    if before == after:
        return ""
    names = short_name(before), short_name(after)
    telemetry.child(telemetry.OBJECTS_CONVERTED, Lane.parse(lane).node, *names).inc()
    return f"converted-{names[0]}-to-{names[1]}"
