"""Tests an HL7 node: connection and TLS. No message is sent, since a RIS would act on it."""

from __future__ import annotations

import asyncio

from broker.delivery.probe.network_probe import Place, reach
from broker.delivery.probe.outcome import ProbeLog, StepOutcome, shortened
from broker.errors import PeerFault
from broker.hl7.mllp.client import MllpClient, Receiver
from broker.model.wording import Sentence

STAYS = 0.5  # seconds for which a connection must stay open
CONNECT = 8.0  # seconds


async def probe_hl7(log: ProbeLog, receiver: Receiver) -> None:
    """Test a node that listens; the log says what was found."""
    if not await reach(log, Place(receiver.host, receiver.port, receiver.tls, receiver.server_name)):
        return
    try:
        client = await MllpClient.connect(receiver.host, receiver.port, CONNECT, receiver.tls, receiver.server_name)
    except PeerFault as error:
        log.add(
            "mllp",
            StepOutcome.BAD,
            Sentence("No second connection: %(reason)s", {"reason": shortened(str(error))}),
            Sentence("It may take one connection at a time: end the other one, or look at its log."),
        )
        return
    try:
        await asyncio.sleep(STAYS)
        stays = client.usable
    finally:
        client.abort()
    if stays:
        log.add("mllp", StepOutcome.GOOD, Sentence("The MLLP connection stands; no message was sent"))
    else:
        log.add(
            "mllp",
            StepOutcome.BAD,
            Sentence("It closes the connection at once"),
            Sentence("It may know only some addresses, or want TLS: look at its log."),
        )
