"""Posts a notice to a webhook as JSON (RFC 9110), and says what its status means."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from broker.delivery.notices.answer import NoticeAnswer, NoticeVerdict
from broker.delivery.web.http_parts import USER_AGENT, unreached
from broker.delivery.web.http_parts import retry_after as seconds_of
from broker.errors import PeerFault
from broker.site.nodes import Node

_BUSY = (429, 503)  # all wait, for as long as Retry-After says


async def post(node: Node, context: ssl.SSLContext | None, document: Mapping[str, Any]) -> NoticeAnswer:
    """Post a document. Raises PeerFault if the webhook was not reached. The caller bounds the time.

    Redirects are not followed, proxies of the environment not used, and the body of the answer is not read.
    """
    headers = {"Content-Type": "application/json", "Idempotency-Key": document["id"]}
    try:
        async with request(node, context, "POST", headers, json.dumps(document).encode()) as answer:
            return meaning(answer.status_code, answer.headers.get("Retry-After", ""), time.time())
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise PeerFault("the webhook is not reached", code=unreached(error)) from None
    except (httpx.InvalidURL, UnicodeError):  # a name that no name server can be asked for
        raise PeerFault("the webhook has no address", code="unreachable") from None
    except httpx.TimeoutException:
        return NoticeAnswer(NoticeVerdict.AWAY, "no-answer")
    except httpx.HTTPError:
        return NoticeAnswer(NoticeVerdict.AWAY, "connection-lost")


def meaning(status: int, retry_after: str, now: float) -> NoticeAnswer:
    """What a status means; `now` in seconds since the epoch."""
    code = f"http-{status}"
    if 200 <= status < 300:
        return NoticeAnswer(NoticeVerdict.DONE, code)
    if status in _BUSY:
        return NoticeAnswer(NoticeVerdict.AWAY, code, seconds_of(retry_after, now))
    if status == 408 or 500 <= status < 600:
        return NoticeAnswer(NoticeVerdict.AGAIN, code, seconds_of(retry_after, now))
    return NoticeAnswer(NoticeVerdict.HELD, code)


@asynccontextmanager
async def request(
    node: Node, context: ssl.SSLContext | None, method: str, headers: Mapping[str, str], content: bytes = b""
) -> AsyncIterator[httpx.Response]:
    """A request to a webhook on a connection of its own, and its answer without the body. Raises httpx.HTTPError."""
    server_name = node.tls.server_name if node.tls else None
    async with httpx.AsyncClient(
        verify=context or False, timeout=node.timeout, follow_redirects=False, trust_env=False
    ) as client:
        asked = client.build_request(
            method,
            node.url,
            headers={"User-Agent": USER_AGENT, **headers, **_bearer(node)},
            content=content,
            extensions={"sni_hostname": server_name} if server_name else None,
        )
        auth = httpx.BasicAuth(node.username, node.passcode) if node.username else None
        yield await client.send(asked, auth=auth, stream=True)


def _bearer(node: Node) -> dict[str, str]:
    return {"Authorization": f"Bearer {node.passcode}"} if node.passcode and not node.username else {}
