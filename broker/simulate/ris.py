"""Simulates a RIS: sends orders over MLLP and expects each to be accepted."""

from __future__ import annotations

from broker.errors import PeerFault, Refused
from broker.hl7.findings import MalformedMessage
from broker.hl7.message import parse
from broker.hl7.mllp.client import MllpClient


class VirtualRis:
    """One MLLP connection to a receiver, opened with the first order."""

    def __init__(self, host: str, port: int, timeout: float = 30) -> None:
        self._address = (host, port)
        self._timeout = timeout
        self._client: MllpClient | None = None

    async def send(self, message: bytes, control_id: str) -> None:
        """Send a message and check its answer.

        Raises Refused (the code is MSA-1 and the error codes), or PeerFault when no usable answer came.
        """
        if self._client is None:
            self._client = await MllpClient.connect(*self._address, timeout=self._timeout)
        try:
            check_answer(await self._client.exchange(message, self._timeout), control_id)
        except PeerFault:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection; the next order opens a new one."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def check_answer(answer: bytes, control_id: str) -> None:
    """Accept `AA` for this message only. Raises Refused or PeerFault."""
    try:
        message = parse(answer)
    except MalformedMessage:
        raise PeerFault("the answer is no HL7 message", code="bad-answer") from None
    if message.get("MSA-2") != control_id:
        raise PeerFault("the answer belongs to another message", code="bad-answer")
    code = message.get("MSA-1")
    if code != "AA":
        errors = [segment.get(3, 1) or "?" for segment in message.all("ERR")]
        raise Refused("the order was not accepted", code=" ".join([code, *errors]))
