"""Hands a notice to a mail server (RFC 5321), and says what its replies mean.

All addresses get it or none: while the server puts one off, the mail waits for it. One that it refuses for good is left
out, and the job is held then, since nobody else would learn of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from broker.delivery.notices.answer import NoticeAnswer, NoticeVerdict
from broker.errors import PeerFault
from broker.site.nodes import Node
from broker.site.tables.mail import Mail
from broker.tls import failure

SOME = "-some"  # behind a code: some addresses got the mail
BUSY = 421  # RFC 5321 3.8: the server ends the connection


async def send(node: Node, context: ssl.SSLContext | None, table: Mail, message: bytes) -> NoticeAnswer:
    """Hand a mail over. Raises PeerFault if no session with the server came about. The caller bounds the time."""
    async with session(node, context, table) as client:
        try:
            await client.mail(table.sender)
            refused = [code for address in table.to if (code := await _refusal(client, address))]
            if later := [code for code in refused if code < 500]:
                return _of_reply(later[0])
            if len(refused) == len(table.to):
                return _of_reply(refused[0])
            await client.data(message)
        except SMTPResponseException as error:
            return _of_reply(error.code)
        except (SMTPTimeoutError, TimeoutError):
            return NoticeAnswer(NoticeVerdict.AWAY, "no-answer")
        except (SMTPServerDisconnected, OSError):
            return NoticeAnswer(NoticeVerdict.AWAY, "connection-lost")
        if client.protocol is not None:  # it has the mail: nobody waits for its farewell
            with contextlib.suppress(SMTPException):
                client.protocol.write(b"QUIT\r\n")
    if refused:
        return NoticeAnswer(NoticeVerdict.HELD, f"smtp-{refused[0]}{SOME}")
    return NoticeAnswer(NoticeVerdict.DONE, "smtp-250")


async def _refusal(client: SMTP, address: str) -> int:
    """The code by which the server refuses an address; 0 if it takes it."""
    try:
        await client.rcpt(address)
    except SMTPRecipientRefused as error:
        if error.code == BUSY:
            raise
        return error.code
    return 0


def _of_reply(code: int) -> NoticeAnswer:
    """What a negative reply means (RFC 5321 4.2.1)."""
    if code == BUSY:
        return NoticeAnswer(NoticeVerdict.AWAY, f"smtp-{code}")
    if 400 <= code < 500:
        return NoticeAnswer(NoticeVerdict.AGAIN, f"smtp-{code}")
    if 500 <= code < 600:
        return NoticeAnswer(NoticeVerdict.HELD, f"smtp-{code}")
    return NoticeAnswer(NoticeVerdict.AWAY, "bad-answer")


@asynccontextmanager
async def session(node: Node, context: ssl.SSLContext | None, table: Mail) -> AsyncIterator[SMTP]:
    """A session with the server of a node: greeted, encrypted and signed in as its table says. Raises PeerFault.

    A wrong passcode is no fault of a mail: the lane waits until the node is corrected, and then all mails go.
    """
    name = (node.tls.server_name if node.tls else None) or node.host
    try:
        client = SMTP(
            hostname=name,
            sock=await _connected(node.host, node.port),
            use_tls=table.security == "implicit",
            start_tls=False,
            tls_context=context,
            timeout=node.timeout,
        )
    except (OSError, UnicodeError):
        raise PeerFault("the mail server is not reached", code="unreachable") from None
    try:
        await _begin(client, node, context, table, name)
    except BaseException as error:
        client.close()
        if (code := _code_of(error)) is None:
            raise
        raise PeerFault("no session with the mail server", code=code) from None
    try:
        yield client
    finally:
        client.close()


async def _begin(client: SMTP, node: Node, context: ssl.SSLContext | None, table: Mail, name: str) -> None:
    await client.connect()
    await client.ehlo()
    if table.security == "starttls":
        if not client.supports_extension("starttls"):
            raise PeerFault("the mail server offers no TLS", code="smtp-no-tls")
        await client.starttls(tls_context=context, server_hostname=name)
        await client.ehlo()
    if node.username:
        if not client.supports_extension("auth"):
            raise PeerFault("the mail server takes no user name", code="smtp-no-auth")
        await client.login(node.username, node.passcode)


def _code_of(error: BaseException) -> str | None:
    """A code for why there is no session; None for what is no fault of the server."""
    cause: BaseException | None = error
    for _ in range(10):
        if isinstance(cause, ssl.SSLError):
            return failure(cause)
        cause = cause.__cause__ or cause.__context__ if cause is not None else None
    match error:
        case PeerFault():
            return error.code
        case SMTPResponseException():
            return f"smtp-{error.code}" if 400 <= error.code < 600 else "bad-answer"
        case SMTPTimeoutError():
            return "no-answer"
        case SMTPException() | OSError():
            return "connection-lost"
    return None


async def _connected(host: str, port: int) -> socket.socket:
    """A connection to the first address that takes one. Raises OSError."""
    loop = asyncio.get_running_loop()
    trouble = OSError("no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            made.setblocking(False)
            await loop.sock_connect(made, address)
        except OSError as error:
            made.close()
            trouble = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise trouble
