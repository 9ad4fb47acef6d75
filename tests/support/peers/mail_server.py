"""A mail server (aiosmtpd) in the loop of a test, or in a thread of its own, which answers as the test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

OK = "250 OK"


class MailServer:
    """What came, and what is answered: `recipients` and `data` say it for each mail, `OK` where they are used up."""

    def __init__(self, *, user: str = "", password: str = "") -> None:
        self.user, self.password = user, password
        self.recipients: list[str] = []
        self.data: list[str] = []
        self.raw: list[bytes] = []
        self.to: list[list[str]] = []
        self.trusted: list[bool] = []  # signed in, or nobody has to
        self.connections = 0
        self.port = 0

    @property
    def mails(self) -> list[EmailMessage]:
        """The mails that came."""
        return [message_from_bytes(raw, policy=default) for raw in self.raw]  # type: ignore[arg-type]

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.connections += 1
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.recipients.pop(0) if self.recipients else OK
        if answer == OK:
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.data.pop(0) if self.data else OK
        self.raw.append(envelope.content if isinstance(envelope.content, bytes) else b"")
        self.to.append(list(envelope.rcpt_tos))
        self.trusted.append(session.authenticated or not self.user)
        if answer == "break":
            assert server.transport is not None
            server.transport.abort()
        return answer

    def authenticator(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth: Any
    ) -> AuthResult:
        good = isinstance(auth, LoginPassword) and (auth.login, auth.password) == (
            self.user.encode(),
            self.password.encode(),
        )
        return AuthResult(success=good, handled=False)

    def options(self, tls: ssl.SSLContext | None) -> dict[str, Any]:
        """Of aiosmtpd."""
        more: dict[str, Any] = {"hostname": "mail.example", "enable_SMTPUTF8": False}
        if self.user:
            more |= {"authenticator": self.authenticator, "auth_required": True, "auth_require_tls": True}
        return more | ({"tls_context": tls, "require_starttls": True} if tls is not None else {})


@asynccontextmanager
async def mail_server(
    found: MailServer, *, starttls: ssl.SSLContext | None = None, implicit: ssl.SSLContext | None = None
) -> AsyncIterator[MailServer]:
    """The server on a loopback port, in this loop."""
    loop, options = asyncio.get_running_loop(), found.options(starttls)
    if implicit is not None:
        options |= {"auth_require_tls": False, "auth_required": False}  # aiosmtpd means STARTTLS by it
    server = await loop.create_server(lambda: SMTP(found, **options), "127.0.0.1", 0, ssl=implicit)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()


@contextmanager
def threaded_mail_server(found: MailServer) -> Iterator[MailServer]:
    """The server on a loopback port, in a thread."""

    options = {name: value for name, value in found.options(None).items() if name != "hostname"}

    class Bound(Controller):
        def _trigger_server(self) -> None:
            found.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
            self.port = found.port
            super()._trigger_server()

    controller = Bound(found, hostname="127.0.0.1", port=0, **options)
    controller.start()
    try:
        yield found
    finally:
        controller.stop()
