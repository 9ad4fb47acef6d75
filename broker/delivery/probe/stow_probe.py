"""Tests a stow node: connection, TLS, who we are, and whether its service answers. No object is sent or asked for."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx

from broker.delivery.probe.network_probe import Place, reach
from broker.delivery.probe.outcome import ProbeLog, StepOutcome
from broker.delivery.web.stow_sender import StowService
from broker.errors import PeerFault
from broker.model.wording import Sentence
from broker.site.nodes import Node

WITHIN = 15.0  # seconds for the answer


async def probe_stow(log: ProbeLog, node: Node, context: ssl.SSLContext | None, base: Path) -> None:
    """Test a DICOMweb service by OPTIONS, which changes nothing (RFC 9110 9.3.7; PS3.18 8.9)."""
    if not await reach(log, Place(node.host, node.port, context, (node.tls.server_name or "") if node.tls else "")):
        return
    service = StowService(node, context, base)
    try:
        async with asyncio.timeout(WITHIN):
            answer, _ = await service.send("OPTIONS", {}, None, WITHIN)
    except PeerFault as error:
        log.add(
            "credentials",
            StepOutcome.BAD,
            Sentence("The broker cannot say who it is: %(code)s", {"code": error.code}),
            Sentence("Look at the files with secrets in its `stow` table, and at the server that gives tokens."),
        )
        return
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, TimeoutError):
        log.add(
            "http",
            StepOutcome.BAD,
            Sentence("It does not answer an HTTP request"),
            Sentence("Something else may listen there, or it wants TLS: compare the url."),
        )
        return
    finally:
        await service.close()
    _judge(log, answer.status_code)


def _judge(log: ProbeLog, status: int) -> None:
    values = {"status": status}
    words = Sentence("It answers OPTIONS with HTTP status %(status)s; no object was sent", values)
    if status in (401, 403):
        log.add(
            "http",
            StepOutcome.BAD,
            Sentence("It does not let the broker in (HTTP status %(status)s)", values),
            Sentence("Compare the credentials of the node with what it expects."),
        )
    elif status in (404, 410) or 300 <= status < 400 or status >= 500:
        log.add(
            "http",
            StepOutcome.WARNING,
            words,
            Sentence("Is the path of its url right, without /studies? Some services know POST only."),
        )
    else:
        log.add("http", StepOutcome.GOOD, words)
