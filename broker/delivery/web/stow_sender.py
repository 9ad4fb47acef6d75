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
from broker.delivery.web.credentials import Credentials, body_of
from broker.delivery.web.http_parts import USER_AGENT, retry_after
from broker.delivery.web.service_sender import Unanswered, WebService, WebServices, answered
from broker.delivery.web.stow_answer import ANSWER_MOST, ending_of, is_away
from broker.dicom.dataset import file_pieces
from broker.errors import PeerFault
from broker.site.nodes import Node
from broker.store.jobs import Job


class StowService(WebService):
    """The connections to one node as it is now, and who we are to it."""

    def __init__(self, node: Node, context: ssl.SSLContext | None, base: Path) -> None:
        """`context`: of its TLS, None for http. Relative paths of secrets count from `base`."""
        super().__init__(node, context)
        self.credentials = Credentials(node, base)

    async def send(
        self, method: str, headers: dict[str, str], content: AsyncIterator[bytes] | None, seconds: float
    ) -> tuple[httpx.Response, bytes | None]:
        """A request about studies; its answer, and the body unless that is too long. Raises httpx.HTTPError, PeerFault.

        `seconds` without any progress end it, and so long the answer may take from its first byte to its last.
        """
        node = self.node
        usual = {"User-Agent": USER_AGENT, "Accept": "application/dicom+json", "Accept-Encoding": "identity"}
        request = self.client.build_request(
            method,
            node.url.rstrip("/") + "/studies",
            headers=usual | headers | await self.credentials.headers(),
            content=content,
            extensions=self.extensions(seconds),
        )
        auth = httpx.BasicAuth(node.username, node.passcode) if node.username else None
        answer = await self.client.send(request, auth=auth, stream=True)
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
        self._services = WebServices(tls, lambda node, context: StowService(node, context, base))

    async def carry(self, node: Node, job: Job, source: ObjectSource) -> CarryEnding:
        """Store an object. Raises PeerFault, SpoiledObject, SpoolUnavailable."""
        async with self._services.use(node) as (service, patience):
            seconds, began = patience.for_one(job.id), time.monotonic()
            try:
                with answered(patience, job.id):
                    answer, body = await self._posted(service, source, seconds)
            except Unanswered as error:
                return error.ending
            patience.answered(job.id, time.monotonic() - began)
        if is_away(answer.status_code):
            fault = PeerFault("the service takes nothing", code=f"stow-{answer.status_code}")
            fault.after = retry_after(answer.headers.get("Retry-After", ""), time.time())
            raise fault
        kind, instance, again = answer.headers.get("Content-Type", ""), source.item.sop_instance_uid, job.attempts > 1
        return await asyncio.to_thread(ending_of, answer.status_code, kind, body, instance, again=again)

    async def close(self) -> None:
        """End all connections."""
        await self._services.close()

    async def _posted(
        self, service: StowService, source: ObjectSource, seconds: float
    ) -> tuple[httpx.Response, bytes | None]:
        """The answer to an object; a token that is not taken is renewed once."""
        answer, body = await service.send("POST", *_multipart(source), seconds)
        if answer.status_code == 401 and service.credentials.renewable:
            service.credentials.forget()
            return await service.send("POST", *_multipart(source), seconds)
        return answer, body


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
        for chunk, wait in source.paced(piece):
            await asyncio.sleep(wait)
            yield chunk
    yield end
