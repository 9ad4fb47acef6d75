"""Tests a webhook or mail node: connection, TLS, and whether it takes who we are. No notice is sent."""

from __future__ import annotations

import asyncio
import ssl

import httpx

from broker.delivery.notices import mail_sender, webhook_sender
from broker.delivery.probe.network_probe import Place, reach
from broker.delivery.probe.outcome import ProbeLog, StepOutcome, shortened
from broker.errors import PeerFault
from broker.model.wording import Sentence
from broker.site.nodes import Node

WITHIN = 15.0  # seconds for the answer to one request


def _place(node: Node, context: ssl.SSLContext | None) -> Place:
    return Place(node.host, node.port, context, (node.tls.server_name or "") if node.tls else "")


async def probe_webhook(log: ProbeLog, node: Node, context: ssl.SSLContext | None) -> None:
    """Test a webhook by a HEAD request, which changes nothing (RFC 9110 9.3.2); the log says what was found."""
    if not await reach(log, _place(node, context)):
        return
    try:
        async with asyncio.timeout(WITHIN), webhook_sender.request(node, context, "HEAD", {}) as answer:
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, TimeoutError):
        log.add(
            "http",
            StepOutcome.BAD,
            Sentence("It does not answer an HTTP request"),
            Sentence("Something else may listen there, or it wants TLS: compare the url."),
        )
        return
    values = {"status": status}
    if status in (401, 403):
        log.add(
            "http",
            StepOutcome.BAD,
            Sentence("It does not let the broker in (HTTP status %(status)s)", values),
            Sentence("Compare user name and passcode with what it expects."),
        )
    elif status in (404, 410) or 300 <= status < 400 or status >= 500:
        log.add(
            "http",
            StepOutcome.WARNING,
            Sentence("It answers a HEAD request with HTTP status %(status)s; no notice was sent", values),
            Sentence("Is the path of its url right? Redirects are not followed. Some webhooks know POST only."),
        )
    else:
        log.add(
            "http",
            StepOutcome.GOOD,
            Sentence("It answers a HEAD request with HTTP status %(status)s; no notice was sent", values),
        )


async def probe_mail(log: ProbeLog, node: Node, context: ssl.SSLContext | None) -> None:
    """Test a mail server up to the sign-in (EHLO, STARTTLS, AUTH); the log says what was found."""
    assert node.mail is not None
    implicit = node.mail.security == "implicit"
    if not await reach(log, _place(node, context if implicit else None)):
        return
    try:
        async with asyncio.timeout(WITHIN), mail_sender.session(node, context, node.mail) as client:
            greeting = shortened(client.last_ehlo_response.message.split("\n")[0] if client.last_ehlo_response else "")
            secure = client.get_transport_info("sslcontext") is not None
    except (PeerFault, TimeoutError) as error:
        code = error.code if isinstance(error, PeerFault) else "no-answer"
        log.add(
            "smtp",
            StepOutcome.BAD,
            Sentence("No session with the mail server: %(code)s", {"code": code}),
            _advice(code),
        )
        return
    values = {"server": greeting or node.host}
    if secure:
        words = Sentence("%(server)s takes mail from the broker, encrypted; no mail was sent", values)
        log.add("smtp", StepOutcome.GOOD, words)
    else:
        words = Sentence("%(server)s takes mail from the broker, in clear; no mail was sent", values)
        log.add("smtp", StepOutcome.GOOD, words)


def _advice(code: str) -> Sentence:
    if code == "smtp-no-tls":
        return Sentence("It offers no STARTTLS: set security to implicit or none, if that is to be trusted.")
    if code in ("smtp-535", "smtp-534", "smtp-538", "smtp-no-auth"):
        return Sentence("Compare user name and passcode with what it expects.")
    if code.startswith("tls-"):
        return Sentence("Enter the authority that has signed its certificate as `ca`, if that is to be trusted.")
    return Sentence("Is it a mail server, and does it take connections from this machine? Look at its log.")
