"""Stores objects at DICOMweb services: one for each request, streamed from the spool (STOW-RS, PS3.18 10.5)."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx

from broker.delivery.notices.trust import NoticeTls
from broker.delivery.object_sender import CarryEnding, checked, file_header
from broker.delivery.object_source import ObjectSource
from broker.delivery.outcome import JobVerdict
from broker.delivery.patience import Patience
from broker.delivery.web.credentials import Credentials, body_of
from broker.delivery.web.http_parts import USER_AGENT, retry_after, unreached
from broker.delivery.web.stow_answer import ANSWER_MOST, ending_of, is_away
from broker.dicom.dataset import file_pieces
from broker.errors import ConfigurationError, PeerFault
from broker.site.nodes import Node
from broker.store.jobs import Job

CONNECT = 15.0  # seconds
RENEW = 600.0  # seconds after which connections are made anew, as TLS files may have changed


class StowService:
    """The connections to one node as it is now."""

    def __init__(self, node: Node, context: ssl.SSLContext | None, base: Path) -> None:
        """`context`: of its TLS, None for http. Relative paths of secrets count from `base`."""
        self.node, self.born = node, time.monotonic()
        self.users, self.retired = 0, False  # requests under way; another one has taken its place
        self.credentials = Credentials(node, base)
        limits = httpx.Limits(max_keepalive_connections=node.associations, keepalive_expiry=node.association_idle)
        self._client = httpx.AsyncClient(
            verify=context or False, limits=limits, follow_redirects=False, trust_env=False
        )

    async def close(self) -> None:
        """End the connections."""
        await self._client.aclose()

    async def send(
        self, method: str, headers: dict[str, str], content: AsyncIterator[bytes] | None, seconds: float
    ) -> tuple[httpx.Response, bytes | None]:
        """A request about studies; its answer, and the body unless that is too long. Raises httpx.HTTPError, PeerFault.

        `seconds` without any progress end it, and so long the answer may take from its first byte to its last.
        """
        node = self.node
        server_name = node.tls.server_name if node.tls else None
        timeout = httpx.Timeout(seconds, connect=min(CONNECT, seconds)).as_dict()
        usual = {"User-Agent": USER_AGENT, "Accept": "application/dicom+json", "Accept-Encoding": "identity"}
        request = self._client.build_request(
            method,
            node.url.rstrip("/") + "/studies",
            headers=usual | headers | await self.credentials.headers(),
            content=content,
            extensions={"timeout": timeout} | ({"sni_hostname": server_name} if server_name else {}),
        )
        auth = httpx.BasicAuth(node.username, node.passcode) if node.username else None
        answer = await self._client.send(request, auth=auth, stream=True)
        try:
            async with asyncio.timeout(seconds):
                return answer, await body_of(answer, ANSWER_MOST)
        except TimeoutError:
            raise httpx.ReadTimeout("the answer does not end") from None
        finally:
            await answer.aclose()


class StowCarrier:
    """Brings objects to nodes of kind stow."""

    kind = "stow"

    def __init__(self, tls: NoticeTls, base: Path) -> None:
        self._tls, self._base = tls, base
        self._services: dict[str, tuple[StowService, Patience]] = {}
        self._making = asyncio.Lock()

    async def carry(self, node: Node, job: Job, source: ObjectSource) -> CarryEnding:
        """Store an object. Raises PeerFault, SpoiledObject, SpoolUnavailable."""
        service, patience = await self._service(node)
        seconds, began = patience.for_one(job.id), time.monotonic()
        service.users += 1
        try:
            answer, body = await self._posted(service, source, seconds)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise PeerFault("the service is not reached", code=unreached(error)) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
            raise PeerFault("the service has no address", code="unreachable") from None
        except httpx.TimeoutException:
            return CarryEnding(JobVerdict.BUSY, "no-answer", cut=True, after=patience.passed(job.id))
        except (httpx.HTTPError, ssl.SSLError) as error:
            if (code := unreached(error)).startswith("tls-"):  # such as a certificate of ours that it does not take
                raise PeerFault("the service ended TLS", code=code) from None
            return CarryEnding(JobVerdict.BUSY, "connection-lost", cut=True)
        finally:
            service.users -= 1
            if service.retired and not service.users:
                await service.close()
        patience.answered(job.id, time.monotonic() - began)
        if is_away(answer.status_code):
            fault = PeerFault("the service takes nothing", code=f"stow-{answer.status_code}")
            fault.after = retry_after(answer.headers.get("Retry-After", ""), time.time())
            raise fault
        kind, instance, again = answer.headers.get("Content-Type", ""), source.item.sop_instance_uid, job.attempts > 1
        return await asyncio.to_thread(ending_of, answer.status_code, kind, body, instance, again=again)

    async def close(self) -> None:
        """End all connections."""
        await asyncio.gather(*(service.close() for service, _ in self._services.values()))
        self._services.clear()

    async def _posted(
        self, service: StowService, source: ObjectSource, seconds: float
    ) -> tuple[httpx.Response, bytes | None]:
        """The answer to an object; a token that is not taken is renewed once."""
        answer, body = await service.send("POST", *_multipart(source), seconds)
        if answer.status_code == 401 and service.credentials.renewable:
            service.credentials.forget()
            return await service.send("POST", *_multipart(source), seconds)
        return answer, body

    async def _service(self, node: Node) -> tuple[StowService, Patience]:
        async with self._making:
            found = self._services.get(node.name)
            if found is not None and found[0].node == node and time.monotonic() - found[0].born < RENEW:
                return found
            try:
                context = await asyncio.to_thread(self._tls, node)
            except ConfigurationError as error:
                raise PeerFault(str(error), code="tls-files") from None
            same = found is not None and found[0].node == node
            patience = found[1] if found is not None and same else Patience(node.answer_timeout)
            if found is not None:
                found[0].retired = True
                if not found[0].users:
                    await found[0].close()
            self._services[node.name] = StowService(node, context, self._base), patience
            return self._services[node.name]


def _multipart(source: ObjectSource) -> tuple[dict[str, str], AsyncIterator[bytes]]:
    """Headers and body of a request with one object as it is (RFC 2387, PS3.18 8.6.1.2)."""
    boundary, item = uuid4().hex, source.item
    begin = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + file_header(item)
    end = f"\r\n--{boundary}--\r\n".encode()
    size = item.data_length + len(file_pieces.padding(item.data_length, item.transfer_syntax_uid))
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary="{boundary}"',
        "Content-Length": str(len(begin) + size + len(end)),
    }
    return headers, _body(begin, source, end)


async def _body(begin: bytes, source: ObjectSource, end: bytes) -> AsyncIterator[bytes]:
    yield begin
    pieces = checked(source)
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece
    yield end
