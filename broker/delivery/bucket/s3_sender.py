"""Stores objects in buckets of S3-compatible storage: short ones by one request, long ones in parts.

An object is there as a whole or not at all: a part of it is no object until the upload is completed, and one that fails
is aborted. Each request has the checksums of its content, by which the storage refuses what was changed on its way.
Its metadata have the SHA-256 of the data set, by which a later try knows what an earlier one has brought.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx

from broker.delivery.bucket.s3_answer import ANSWER_MOST, document, ending_of
from broker.delivery.bucket.signing import keys_of, signed
from broker.delivery.folder.naming import NoPath, parts_of
from broker.delivery.notices.trust import NoticeTls
from broker.delivery.object_sender import CarryEnding, checked, file_header
from broker.delivery.object_source import ObjectSource
from broker.delivery.outcome import JobVerdict
from broker.delivery.web.credentials import body_of
from broker.delivery.web.http_parts import USER_AGENT, retry_after
from broker.delivery.web.service_sender import Unanswered, WebService, WebServices, answered
from broker.dicom.dataset import file_pieces
from broker.errors import PeerFault
from broker.site.nodes import Node
from broker.site.tables.s3 import S3
from broker.store.jobs import Job

PART = 8 << 20  # bytes of a part, all that is in memory of a long object; storage wants 5 MiB at least
PARTS_MOST = 10_000  # of one upload
CHUNK = 64 * 1024  # bytes that are sent without a look at the time
KEY_MOST = 1024  # bytes of a key
DIGEST = "x-amz-meta-dataset-sha256"
ABORT_WITHIN = 3.0  # seconds for the end of an upload that failed


@dataclass(frozen=True, slots=True)
class S3Answer:
    """The answer to a request: status, headers, and the body unless that is too long or packed."""

    status: int
    headers: httpx.Headers
    body: bytes | None

    @property
    def etag(self) -> str:
        """What names the stored content; empty if nothing was stored."""
        return self.headers.get("ETag", "") if self.status == 200 else ""

    def missing(self) -> CarryEnding | None:
        """What an answer to `look` means that shows no object: None if none is there. Raises PeerFault. Blocks."""
        name = document(self.body)[1].get("Code", "")
        if self.status == 404 and name == "NoSuchKey":
            return None
        if self.status == 403 and name in ("AccessDenied", ""):
            raise PeerFault("it does not say whether an object is there", code="s3-no-look")
        return self.ending()

    def ending(self) -> CarryEnding:
        """What it means, if it confirms nothing. Raises PeerFault for what is wrong with the destination."""
        after = retry_after(self.headers.get("Retry-After", ""), time.time())
        return ending_of(self.status, self.body, after=after)


class _NotStored(Exception):
    """A request within an upload was not granted."""

    def __init__(self, answer: S3Answer) -> None:
        super().__init__(str(answer.status))
        self.answer = answer


class S3Service(WebService):
    """The connections to the bucket of one node as it is now."""

    def __init__(self, node: Node, context: ssl.SSLContext | None, base: Path) -> None:
        """`context`: of its TLS, None for http. The path of the secret counts from `base`."""
        super().__init__(node, context)
        assert node.s3 is not None
        self.table: S3 = node.s3
        self._base = base

    async def send(
        self,
        method: str,
        key: str,
        seconds: float,
        body: bytes = b"",
        query: str = "",
        source: ObjectSource | None = None,
        **headers: str,
    ) -> S3Answer:
        """A request about an object in the bucket. `source`: its body goes out no faster than that may.

        Raises httpx.HTTPError, PeerFault. `seconds` without any progress end it, and so long the answer may take.
        """
        url = f"{self.node.url.rstrip('/')}/{self.table.bucket}"
        url += "/" + quote(key, safe="/-_.~") + (f"?{query}" if query else "")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        keys = await asyncio.to_thread(keys_of, self.table, self._base)
        all_headers = await asyncio.to_thread(signed, method, url, named, body, keys, self.table.region)
        usual = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Content-Length": str(len(body))}
        request = self.client.build_request(
            method,
            url,
            headers=usual | all_headers,
            content=_chunks(body, source) if body else None,
            extensions=self.extensions(seconds),
        )
        answer = await self.client.send(request, stream=True)
        try:
            async with asyncio.timeout(seconds):
                content = await body_of(answer, ANSWER_MOST)
        except TimeoutError:
            raise httpx.ReadTimeout("the answer does not end") from None
        finally:
            await answer.aclose()
        return S3Answer(answer.status_code, answer.headers, content)

    async def look(self, key: str, seconds: float) -> S3Answer:
        """Whether an object is there: its first byte, since the answer to HEAD says no error. Raises as `send`."""
        return await self.send("GET", key, seconds, Range="bytes=0-0")


class S3Carrier:
    """Brings objects to nodes of kind s3."""

    kind = "s3"

    def __init__(self, tls: NoticeTls, base: Path) -> None:
        self._services = WebServices(tls, lambda node, context: S3Service(node, context, base))

    async def carry(self, node: Node, job: Job, source: ObjectSource) -> CarryEnding:
        """Store an object. Raises PeerFault, SpoiledObject, SpoolUnavailable."""
        async with self._services.use(node) as (service, patience):
            try:
                key = "/".join(await asyncio.to_thread(parts_of, service.table.key, source))
            except NoPath as error:
                return CarryEnding(JobVerdict.REFUSED, error.code)
            if len(key.encode()) > KEY_MOST:
                return CarryEnding(JobVerdict.REFUSED, "s3-KeyTooLongError")
            began = time.monotonic()
            try:
                with answered(patience, job.id):
                    ending = await _Storing(service, key, source, patience.for_one(job.id)).store()
            except Unanswered as error:
                return error.ending
            patience.answered(job.id, time.monotonic() - began)
        return ending

    async def close(self) -> None:
        """End all connections."""
        await self._services.close()


class _Storing:
    """One object on its way into a bucket."""

    def __init__(self, service: S3Service, key: str, source: ObjectSource, seconds: float) -> None:
        self._service, self._key, self._source, self._seconds = service, key, source, seconds
        self._new = {"Content_Type": "application/dicom", DIGEST: source.item.digest.hex()}

    async def store(self) -> CarryEnding:
        """Store it, and say how that ended. Raises httpx.HTTPError, PeerFault, SpoiledObject, SpoolUnavailable."""
        if self._service.table.existing == "hold" and (there := await self._there()) is not None:
            return there
        item, header = self._source.item, file_header(self._source.item)
        size = len(header) + item.data_length + len(file_pieces.padding(item.data_length, item.transfer_syntax_uid))
        parts = _parts(header, self._source, max(PART, -(-size // PARTS_MOST)))
        if size > PART:
            return await self._upload(parts)
        answer = await self._send("PUT", await asyncio.to_thread(next, parts), "", **self._new)
        return CarryEnding(JobVerdict.DONE) if answer.etag else await asyncio.to_thread(answer.ending)

    async def _there(self) -> CarryEnding | None:
        """What is to be said if something of this name is there; None for nothing."""
        answer = await self._service.look(self._key, self._seconds)
        if answer.status not in (200, 206, 416):  # 416: it is empty
            return await asyncio.to_thread(answer.missing)
        same = answer.headers.get(DIGEST, "") == self._new[DIGEST]
        return CarryEnding(JobVerdict.DONE, "s3-there") if same else CarryEnding(JobVerdict.REFUSED, "s3-other-bytes")

    async def _upload(self, parts: Iterator[bytes]) -> CarryEnding:
        """Store it in parts."""
        begun = await self._send("POST", b"", "uploads=", **self._new)
        root, values = document(begun.body)
        if begun.status != 200 or root != "InitiateMultipartUploadResult" or not values.get("UploadId"):
            return await asyncio.to_thread(begun.ending)
        upload = "uploadId=" + quote(values["UploadId"], safe="-_.~")
        whole, etags = False, list[str]()
        try:
            while part := await asyncio.to_thread(next, parts, b""):
                etags.append(await self._part(part, upload, len(etags) + 1))
                del part
            answer = await self._send("POST", _list_of(etags), upload, Content_Type="application/xml")
            root, values = document(answer.body)  # an error may come with status 200: it was begun before it was known
            if whole := answer.status == 200 and root == "CompleteMultipartUploadResult" and bool(values.get("ETag")):
                return CarryEnding(JobVerdict.DONE)
        except _NotStored as error:
            answer = error.answer
        finally:
            if not whole:
                await self._abort(upload)
        return await asyncio.to_thread(answer.ending)

    async def _part(self, content: bytes, upload: str, number: int) -> str:
        """What names a part that was stored. Raises _NotStored."""
        answer = await self._send("PUT", content, f"partNumber={number}&{upload}")
        if not answer.etag:
            raise _NotStored(answer)
        return answer.etag

    async def _abort(self, upload: str) -> None:
        """The parts are of no use. If this cannot be told, a rule of the bucket removes them."""
        with contextlib.suppress(httpx.HTTPError, PeerFault, TimeoutError):
            async with asyncio.timeout(ABORT_WITHIN):
                await self._send("DELETE", b"", upload)

    async def _send(self, method: str, body: bytes = b"", query: str = "", **headers: str) -> S3Answer:
        return await self._service.send(method, self._key, self._seconds, body, query, self._source, **headers)


def _parts(header: bytes, source: ObjectSource, size: int) -> Iterator[bytes]:
    """The file of an object in parts, checked. Raises SpoiledObject in place of the last one, SpoolUnavailable."""
    part = bytearray(header)
    for piece in checked(source):
        part += piece
        while len(part) > size:
            with memoryview(part) as view:
                whole = bytes(view[:size])
            del part[:size]
            yield whole
            del whole
    if part:
        yield bytes(part)


def _list_of(etags: list[str]) -> bytes:
    """The parts of an upload. What names them came over the network, and is text."""
    parts = (
        f"<Part><PartNumber>{number}</PartNumber><ETag>{_escaped(etag)}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<CompleteMultipartUpload xmlns="{space}">{"".join(parts)}</CompleteMultipartUpload>'.encode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


async def _chunks(body: bytes, source: ObjectSource | None) -> AsyncIterator[bytes]:
    """Small enough that each is a progress."""
    for start in range(0, len(body), CHUNK):
        piece = body[start : start + CHUNK]
        for chunk, wait in source.paced(piece) if source is not None else ((piece, 0.0),):
            if wait:
                await asyncio.sleep(wait)
            yield chunk
