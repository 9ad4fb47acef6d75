"""Puts codes into words for people: rejections (PS3.8 9.3.4), failures, statuses (PS3.7 annex C)."""

from __future__ import annotations

from broker.dicom.dimse import status as st
from broker.errors import BrokerError

_REJECTIONS = {
    (1, 1): "no reason given",
    (1, 2): "application context not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}  # by source and reason
_FAILURES = {
    "connect-failed": "cannot connect",
    "connection-lost": "the peer closed the connection",
    "aborted": "the peer aborted the association",
    "deadline": "no answer in time",
    "no-context": "the peer does not accept this SOP class",
    "identity-unanswered": "the peer did not check our identity",
}
_STATUSES = {
    st.SUCCESS: "success",
    st.PENDING: "pending",
    st.PENDING_WARNING: "pending, a key is not supported",
    st.CANCEL: "cancelled",
    st.NOT_ALL_SUPPORTED: "requested optional attributes are not supported",
    st.NO_SUCH_ATTRIBUTE: "no such attribute",
    st.INVALID_ATTRIBUTE_VALUE: "invalid attribute value",
    st.ATTRIBUTE_LIST_ERROR: "attribute list error",
    st.DUPLICATE_SOP_INSTANCE: "duplicate SOP instance",
    st.VALUE_OUT_OF_RANGE: "attribute value out of range",
    st.INVALID_SOP_INSTANCE: "invalid SOP instance",
    st.MISSING_ATTRIBUTE: "missing attribute",
    st.MISSING_ATTRIBUTE_VALUE: "missing attribute value",
    st.NOT_AUTHORIZED: "not authorized",
    st.MISTYPED_ARGUMENT: "mistyped argument",
    st.PROCESSING_FAILURE: "processing failure",
    st.NO_SUCH_SOP_INSTANCE: "no such SOP instance",
    st.SOP_CLASS_NOT_SUPPORTED: "SOP class not supported",
    st.DUPLICATE_INVOCATION: "duplicate invocation",
    st.UNRECOGNIZED_OPERATION: "unrecognized operation",
    st.RESOURCE_LIMITATION: "resource limitation",
    st.COERCION_OF_ELEMENTS: "coercion of data elements",
    st.ELEMENTS_DISCARDED: "elements discarded",
    st.DATASET_MISMATCH_WARNING: "data set does not match SOP class",
}
_CLASSES = (
    (0xFF00, st.OUT_OF_RESOURCES, "out of resources"),
    (0xFF00, st.DATASET_MISMATCH, "data set does not match SOP class"),
    (0xF000, st.CANNOT_UNDERSTAND, "cannot understand"),
    (0xF000, st.COERCION_OF_ELEMENTS, "warning"),
)  # mask and value


def failure(error: BrokerError) -> str:
    """The reason why there is no association, for instance `rejected: local limit exceeded (2,3,2)`."""
    code = error.code
    if code.startswith("rejected-"):
        result, source, reason = (int(part) for part in code.split("-")[1:])
        word = "rejected for now" if result == 2 else "rejected"
        return f"{word}: {_REJECTIONS.get((source, reason), 'unknown reason')} ({result},{source},{reason})"
    if code.startswith("tls-"):
        return f"no TLS handshake: {code.removeprefix('tls-').replace('-', ' ')}"
    return _FAILURES.get(code) or f"{error} ({code})"


def status(code: int) -> str:
    """A status with its number, for instance `out of resources (A700)`."""
    word = _STATUSES.get(code) or next((text for mask, value, text in _CLASSES if code & mask == value), "failure")
    return f"{word} ({code:04X})"
