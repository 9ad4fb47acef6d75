"""Says what the answer of S3-compatible storage means for the job of an object.

Storage names an error by a code (Amazon S3 API Reference, "Error responses"). What is not in the table is judged by the
status of HTTP:

    object: held           411, 412, 413, 415, 416, 422 and others of 4xx that are not below
    object or destination  400, 409, 500, 501 and others of 5xx; an answer that confirms nothing; none in time
    destination: waits     3xx, 401, 403, 404, 405, 408, 410, 429, 502, 503, 504, 507
"""

from __future__ import annotations

from xml.parsers import expat

from broker.delivery.object_sender import CarryEnding
from broker.delivery.outcome import JobVerdict
from broker.delivery.web.stow_answer import is_away
from broker.errors import PeerFault

ANSWER_MOST = 256 * 1024  # bytes of an answer: an error, or the end of an upload
_DEEPEST, _MOST = 20, 1000  # elements in one another, and all of them
_WHO = """AccessDenied InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken RequestTimeTooSkewed
AuthorizationHeaderMalformed AccountProblem AllAccessDisabled"""
_WHERE = "NoSuchBucket InvalidBucketName PermanentRedirect TemporaryRedirect MethodNotAllowed"
_BUSY = """SlowDown ServiceUnavailable TooManyRequests QuotaExceeded XMinioStorageFull XMinioAdminBucketQuotaExceeded
InsufficientStorage"""
_DESTINATION = frozenset(f"{_WHO} {_WHERE} {_BUSY}".split())
_OBJECT = frozenset({"EntityTooLarge", "KeyTooLongError", "XMinioInvalidObjectName", "InvalidObjectState"})
_CHANGED = "BadDigest XAmzContentSHA256Mismatch IncompleteBody NoSuchUpload InvalidPart"  # on its way
_EITHER = frozenset(f"{_CHANGED} RequestTimeout InternalError OperationAborted".split())  # the next try may pass


def ending_of(status: int, body: bytes | None, *, after: float = 0) -> CarryEnding:
    """What an answer that confirms nothing means for an object; `body`: None for one that is too long or packed.

    Raises PeerFault for one that speaks of the destination; `after`: so long it wants to be left alone.
    """
    root, values = document(body)
    name = values.get("Code", "") if root == "Error" else ""
    if name in _OBJECT:
        return CarryEnding(JobVerdict.REFUSED, f"s3-{name}")
    if name in _EITHER:
        return CarryEnding(JobVerdict.BUSY, f"s3-{name}")
    if name in _DESTINATION or is_away(status):
        fault = PeerFault("the storage takes nothing", code=f"s3-{name if name in _DESTINATION else status}")
        fault.after = after
        raise fault
    if 200 <= status < 300:
        return CarryEnding(JobVerdict.BUSY, "s3-unclear")
    if status in (400, 409) or status >= 500 or status < 200:
        return CarryEnding(JobVerdict.BUSY, f"s3-{status}")
    return CarryEnding(JobVerdict.REFUSED, f"s3-{status}")


def document(body: bytes | None) -> tuple[str, dict[str, str]]:
    """The name of the outermost element and the texts of those within; nothing for what is no such document."""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = reader.begin, reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _declared
    try:
        parser.Parse(body or b"", True)
    except (ValueError, expat.ExpatError):
        return "", {}
    return reader.root, reader.values


def _declared(*parts: object) -> None:
    raise ValueError("a document that declares something")


class _Reader:
    """Collects the texts one below the outermost element."""

    def __init__(self) -> None:
        self.root, self.values = "", dict[str, str]()
        self._depth = self._count = 0
        self._text = ""

    def begin(self, name: str, attributes: object) -> None:
        self._depth, self._count = self._depth + 1, self._count + 1
        if self._depth > _DEEPEST or self._count > _MOST:
            raise ValueError("too much")
        if self._depth == 1:
            self.root = name.rpartition(" ")[2]
        self._text = ""

    def end(self, name: str) -> None:
        if self._depth == 2:
            self.values[name.rpartition(" ")[2]] = self._text.strip()
        self._depth -= 1

    def text(self, text: str) -> None:
        self._text += text
