"""Says in words what the codes of the queue, of routing and of performed steps mean.

Codes are made by `errors.PeerFault`, `delivery`, `routing.rules`, `orders.lookup.matching` and `mpps`. One that is
not here is shown as it is.
"""

from __future__ import annotations

import re

from broker.model.wording import Sentence

_CODES = {
    # of a lane, or of a job that a peer would not have
    "connect-failed": Sentence("no connection: it is off, or its address or port is wrong"),
    "unreachable": Sentence("no connection: it is off, or its address or port is wrong"),
    "connection-lost": Sentence("the connection was lost"),
    "no-answer": Sentence("it does not answer in time"),
    "bad-answer": Sentence("its answer cannot be understood"),
    "aborted": Sentence("it aborted the association"),
    "identity-unanswered": Sentence("it did not confirm our identity"),
    "no-context": Sentence("it does not serve this kind of object"),
    "no-presentation-context": Sentence("it does not take this kind of object or its encoding"),
    "busy": Sentence("it is busy"),
    "tls-closed": Sentence("it ended the TLS handshake"),
    "tls-deadline": Sentence("the TLS handshake took too long"),
    "gave-up": Sentence("it was tried for too long"),
    "unknown-node": Sentence("the node is no longer configured"),
    "no-instance": Sentence("the object is no longer there"),
    "file-missing": Sentence("the file of the object is missing"),
    "file-damaged": Sentence("the file of the object is damaged"),
    "not-in-charset": Sentence("a text has no place in the character set of the receiver"),
    "wrong-entry": Sentence("a performed step was ended as made by mistake"),
    # of an object without a way
    "no-rule-matched": Sentence("no rule says where it goes"),
    "held-by-rule": Sentence("a rule holds it for a person"),
    "discarded-by-person": Sentence("a person discarded it"),
    "discard-undone": Sentence("a person took its discard back"),
    "discarded-by-rule": Sentence("a rule discards it"),
    "held-too-long": Sentence("nobody decided on it for too long"),
    "waits-for-series": Sentence("it waits until its series is complete"),
    "waits-for-study": Sentence("it waits until its study is complete"),
    "waits-for-series-and-study": Sentence("it waits until its series and its study are complete"),
    "not-complete": Sentence("its study was not complete in time"),
    "came-late": Sentence("it came after its study was judged, and no destination takes late images"),
    "no-study": Sentence("it names no study or series to wait for"),
    # of a performed step
    "unscheduled": Sentence("no order is known for it"),
    "partly": Sentence("a part of it has no order"),
    "ambiguous": Sentence("several scheduled steps fit"),
    "mismatch": Sentence("the scheduled step is another patient's"),
    "other-person": Sentence("name or birth date differ from the order"),
    "overdue": Sentence("the modality never said that it ended"),
    "missing": Sentence("objects that it lists did not come"),
}
# PS3.8 table 9-21: source and reason
_REJECTIONS = {
    "1-2": Sentence("it does not know the application context"),
    "1-3": Sentence("it does not know our AE title"),
    "1-7": Sentence("it is not called by the AE title that is configured here"),
    "3-1": Sentence("it is too busy for another association"),
    "3-2": Sentence("it has no more associations left"),
}
# PS3.4 table B.2-1 and PS3.7 annex C
_STATUSES = (
    (r"A7..", Sentence("it is out of resources")),
    (r"A9..", Sentence("the object does not fit its SOP class")),
    (r"C...", Sentence("it cannot understand the object")),
    (r"0110", Sentence("it failed to process it")),
    (r"0111", Sentence("it has an object of this UID already")),
    (r"0122", Sentence("it does not support this SOP class")),
    (r"0124", Sentence("it is not authorized")),
)
_ANSWERS = {"AE": Sentence("the RIS answered with an error"), "AR": Sentence("the RIS refused the message")}


def reason(code: str) -> Sentence:
    """What a code means; with the code where a support line will ask for it."""
    if (known := _CODES.get(code)) is not None:
        return known
    if rejected := re.fullmatch(r"rejected-\d-(\d-\d)", code):
        why = _REJECTIONS.get(rejected[1], Sentence("it gives no reason"))
        return Sentence("it rejects the association: %(why)s (%(code)s)", {"why": why, "code": code})
    if status := re.fullmatch(r"status-([0-9A-F]{4})", code):
        why = next(
            (words for form, words in _STATUSES if re.fullmatch(form, status[1])), Sentence("it gives no reason")
        )
        return Sentence("it refuses it: %(why)s (status %(code)s)", {"why": why, "code": status[1]})
    if code.startswith("tls-"):
        return Sentence("the TLS handshake failed (%(code)s)", {"code": code})
    if code.startswith("rule-error:"):
        return Sentence("a rule failed (%(code)s)", {"code": code.removeprefix("rule-error:")})
    answer = re.fullmatch(r"([AC][ER])(?:-(\d+))?", code)
    if answer and (words := _ANSWERS.get(f"A{answer[1][1]}")) is not None:
        return Sentence("%(why)s (%(code)s)", {"why": words, "code": code})
    return Sentence("%(code)s", {"code": code or "?"})
