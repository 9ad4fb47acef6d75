"""Tests an s3 node: connection, TLS, and whether a small object can be written into its bucket and removed."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from uuid import uuid4

import httpx

from broker.delivery.bucket.s3_sender import S3Answer, S3Service
from broker.delivery.probe.network_probe import Place, reach
from broker.delivery.probe.outcome import ProbeLog, StepOutcome
from broker.errors import PeerFault
from broker.model.wording import Sentence
from broker.site.nodes import Node

WITHIN = 15.0  # seconds for an answer
TEST = "broker-test/"  # names in the bucket begin so
_KEYS = Sentence("Compare the access key, its secret and the region with what the storage expects, and both clocks.")
_ADVICE = {
    "s3-NoSuchBucket": Sentence("Make the bucket, or correct its name; the broker never makes it."),
    "s3-AccessDenied": Sentence("Let the access key write into the bucket."),
    "s3-InvalidAccessKeyId": _KEYS,
    "s3-SignatureDoesNotMatch": _KEYS,
    "s3-AuthorizationHeaderMalformed": _KEYS,
    "s3-RequestTimeTooSkewed": Sentence("Set the clock of this machine, or that of the storage, by a time server."),
    "s3-no-keys": Sentence(
        "Name access_key and secret_key_file in its `s3` table, or set AWS_ACCESS_KEY_ID and others."
    ),
    "s3-secret-file": Sentence("Look at the file `secret_key_file`: is it there, may the broker read it?"),
    "s3-QuotaExceeded": Sentence("Make room in the storage, or raise its quota."),
    "s3-XMinioStorageFull": Sentence("Make room in the storage, or raise its quota."),
}


async def probe_s3(log: ProbeLog, node: Node, context: ssl.SSLContext | None, base: Path) -> None:
    """Test a bucket; the log says what was found."""
    if not await reach(log, Place(node.host, node.port, context, (node.tls.server_name or "") if node.tls else "")):
        return
    service, name = S3Service(node, context, base), TEST + uuid4().hex
    log.begin()
    try:
        async with asyncio.timeout(2 * WITHIN):
            written = await service.send("PUT", name, WITHIN, b"A test of the broker.\n", Content_Type="text/plain")
            if _is_written(log, service, written):
                await _remove(log, service, name)
    except PeerFault as error:
        _bad(log, service, error.code)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, TimeoutError):
        log.add(
            "http",
            StepOutcome.BAD,
            Sentence("It does not answer an HTTP request"),
            Sentence("Something else may listen there, or it wants TLS: compare the url."),
        )
    finally:
        await service.close()


def _is_written(log: ProbeLog, service: S3Service, answer: S3Answer) -> bool:
    """Something was written into the bucket; if not, the log says so. Raises PeerFault."""
    if answer.etag:
        return True
    _bad(log, service, answer.ending().code)
    return False


async def _remove(log: ProbeLog, service: S3Service, name: str) -> None:
    where = {"bucket": service.table.bucket}
    removed = await service.send("DELETE", name, WITHIN)
    if removed.status in (200, 204):
        words = Sentence("An object was written into the bucket %(bucket)s and removed", where)
        log.add("bucket", StepOutcome.GOOD, words)
    else:
        log.add(
            "bucket",
            StepOutcome.WARNING,
            Sentence("An object was written into the bucket %(bucket)s, and cannot be removed", where),
            Sentence("Nothing is wrong with that: remove %(name)s by hand.", {"name": name}),
        )
    if service.table.existing == "hold" and (await service.look(name, WITHIN)).status == 403:
        log.add(
            "look",
            StepOutcome.BAD,
            Sentence("It does not say whether an object is there"),
            Sentence('Let the access key read and list the bucket, or set existing = "replace".'),
        )


def _bad(log: ProbeLog, service: S3Service, code: str) -> None:
    log.add(
        "bucket",
        StepOutcome.BAD,
        Sentence(
            "Nothing can be written into the bucket %(bucket)s: %(code)s",
            {"bucket": service.table.bucket, "code": code},
        ),
        _ADVICE.get(code, Sentence("Look at the log of the storage, and compare url, bucket and region.")),
    )
