"""Tests an audit repository: connection and TLS. No message is sent, since it would stand in the trail for ever."""

from __future__ import annotations

import ssl

from broker.delivery.probe.network_probe import Place, reach, resolve
from broker.delivery.probe.outcome import ProbeLog, StepOutcome
from broker.model.wording import Sentence
from broker.site.nodes import Node


async def probe_syslog(log: ProbeLog, node: Node, context: ssl.SSLContext | None) -> None:
    """Test a syslog node; the log says what was found. By UDP nothing can be known but its address (RFC 5426 3.1)."""
    assert node.repository is not None
    if node.repository.transport == "udp":
        if await resolve(log, node.host):
            log.add(
                "syslog",
                StepOutcome.WARNING,
                Sentence("It is sent messages by UDP, which nobody answers: whether they arrive cannot be known"),
                Sentence("Look into the repository, or let it take messages by TCP."),
            )
        return
    if await reach(log, Place(node.host, node.port, context, (node.tls.server_name or "") if node.tls else "")):
        log.add("syslog", StepOutcome.GOOD, Sentence("It takes connections; no message was sent"))
