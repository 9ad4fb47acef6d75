"""Says in words what the codes of the queue, of routing and of performed steps mean.

Codes are made by `errors.PeerFault`, `delivery`, `routing.rules`, `orders.lookup.matching` and `mpps`. One that is
not here is shown as it is.
"""

from __future__ import annotations

import re
from dataclasses import replace

from broker.model.lane import LaneKind
from broker.model.wording import Sentence
from broker.status.delivery_causes import delivery_reason

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
    "process-died": Sentence("the broker ended while it worked on it"),
    "process-dies": Sentence("the broker ended each time it worked on it"),
    "newer-version-sent": Sentence("a newer version of it was sent: released, it goes over that"),
    "unknown-node": Sentence("the node is no longer configured"),
    "no-instance": Sentence("the object is no longer there"),
    "not-convertible": Sentence("it takes it in another encoding only, and the broker cannot convert the object"),
    "file-missing": Sentence("the file of the object is missing"),
    "file-damaged": Sentence("the file of the object is damaged"),
    "file-altered": Sentence("its bytes are not those that were received"),
    "not-in-charset": Sentence("a text has no place in the character set of the receiver"),
    "not-sent": Sentence("the broker could not make it: the log says why"),
    "no-message": Sentence("what was to be sent is no longer there"),
    "no-address": Sentence("it has no host and port here, and has not called to be told"),
    "no-notice": Sentence("the notice is no longer there"),
    "tls-files": Sentence("the TLS files of the node cannot be used"),
    "smtp-no-tls": Sentence("the mail server offers no TLS"),
    "smtp-no-auth": Sentence("the mail server takes no user name"),
    "wrong-entry": Sentence("a performed step was ended as made by mistake"),
    # of an object without a way
    "no-rule-matched": Sentence("no rule says where it goes"),
    "held-by-rule": Sentence("a rule holds it for a person"),
    "discarded-by-person": Sentence("a person discarded it"),
    "rerouted": Sentence("a person sent it to another destination"),
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
_WARNINGS = {
    "B000": Sentence("it has changed values"),
    "B006": Sentence("it has left out values"),
    "B007": Sentence("the object does not fit its SOP class"),
}
# PS3.6 table A-1: names as they are, by the words of `dicom.conversion.syntaxes`
_SYNTAXES = {
    "explicit-le": "Explicit VR Little Endian",
    "implicit-le": "Implicit VR Little Endian",
    "explicit-be": "Explicit VR Big Endian",
    "deflated": "Deflated Explicit VR Little Endian",
}
_STATUSES = (
    (r"A9..", Sentence("the object does not fit its SOP class")),
    (r"C...", Sentence("it cannot understand the object")),
    (r"0111", Sentence("it has an object of this UID already")),
    (r"0122", Sentence("it does not support this SOP class")),
    (r"0124", Sentence("it is not authorized")),
)
# These do not say whose fault it is: evidence does (`queue.evidence`). Orthanc says A700 of an object without a study
_NOT_TAKEN = {
    "A7": Sentence("it says that it is out of resources, or it cannot take this one (status %(code)s)"),
    "01": Sentence("it could not process it, by its own fault or by that of what was sent (status %(code)s)"),
    "02": Sentence("it has no resources left for it (status %(code)s)"),
}
# RFC 9110 chapter 15
_HTTP = {
    "401": Sentence("it does not know who the broker is"),
    "403": Sentence("it does not let the broker in"),
    "404": Sentence("there is nothing at its url"),
    "405": Sentence("it does not take a POST"),
    "408": Sentence("it has waited too long"),
    "410": Sentence("there is nothing at its url"),
    "413": Sentence("the notice is too long for it"),
    "415": Sentence("it does not take JSON"),
    "422": Sentence("it does not understand the notice"),
    "429": Sentence("it is asked too often"),
    "503": Sentence("it is busy"),
}
# RFC 5321 4.2.3, RFC 4954 4
_SMTP = {
    "421": Sentence("it is closing"),
    "450": Sentence("a mailbox is busy"),
    "451": Sentence("it has a fault just now"),
    "452": Sentence("it has no room"),
    "530": Sentence("it wants a user name, or TLS"),
    "535": Sentence("it does not take user name and passcode"),
    "550": Sentence("it does not take mail for this address"),
    "553": Sentence("it does not know this address"),
    "554": Sentence("it refuses the mail"),
}
_ANSWERS = {"AE": Sentence("the RIS answered with an error"), "AR": Sentence("the RIS refused the message")}


_COUNTED = re.compile(r"(?<=process-died)-\d$")  # how often


def reason(code: str) -> Sentence:
    """What a code means; with the code where a support line will ask for it."""
    if (known := _CODES.get(_COUNTED.sub("", code))) is not None:
        return known
    if rejected := re.fullmatch(r"rejected-\d-(\d-\d)", code):
        why = _REJECTIONS.get(rejected[1], Sentence("it gives no reason"))
        return Sentence("it rejects the association: %(why)s (%(code)s)", {"why": why, "code": code})
    if warned := re.fullmatch(r"status-(B[0-9A-F]{3})", code):
        why = _WARNINGS.get(warned[1], Sentence("it gives no reason"))
        return Sentence("it took it with a warning: %(why)s (status %(code)s)", {"why": why, "code": warned[1]})
    if made := re.fullmatch(r"converted-(.+)-to-(.+)", code):
        values = {"before": _SYNTAXES.get(made[1], made[1]), "after": _SYNTAXES.get(made[2], made[2])}
        return Sentence("it took it converted from %(before)s to %(after)s", values)
    if status := re.fullmatch(r"status-((A7)[0-9A-F]{2}|(01)10|(02)13)(-[0-9A-F]{4})?", code):
        kind = status[2] or status[3] or status[4]
        return replace(_NOT_TAKEN[kind], values={"code": status[1] + (status[5] or "")})
    if status := re.fullmatch(r"status-([0-9A-F]{4})(-[0-9A-F]{4})?", code):
        why = next(
            (words for form, words in _STATUSES if re.fullmatch(form, status[1])), Sentence("it gives no reason")
        )
        return Sentence(
            "it refuses it: %(why)s (status %(code)s)", {"why": why, "code": status[0].removeprefix("status-")}
        )
    if told := delivery_reason(code) or _of_notice(code):
        return told
    if code.startswith("tls-"):
        return Sentence("the TLS handshake failed (%(code)s)", {"code": code})
    if code.startswith("rule-error:"):
        return Sentence("a rule failed (%(code)s)", {"code": code.removeprefix("rule-error:")})
    answer = re.fullmatch(r"([AC][ER])(?:-(\d+))?", code)
    if answer and (words := _ANSWERS.get(f"A{answer[1][1]}")) is not None:
        return Sentence("%(why)s (%(code)s)", {"why": words, "code": code})
    return Sentence("%(code)s", {"code": code or "?"})


def _of_notice(code: str) -> Sentence | None:
    """What a webhook or mail server means; None for a code of others."""
    if status := re.fullmatch(r"http-(\d{3})", code):
        usual = Sentence("it leads elsewhere") if status[1][0] == "3" else Sentence("it gives no reason")
        why = Sentence("it has a fault") if status[1][0] == "5" else usual
        values = {"why": _HTTP.get(status[1], why), "code": status[1]}
        return Sentence("the webhook does not take it: %(why)s (HTTP status %(code)s)", values)
    if reply := re.fullmatch(r"smtp-(\d{3})(-some)?", code):
        values = {"why": _SMTP.get(reply[1], Sentence("it gives no reason")), "code": reply[1]}
        if reply[2]:
            return Sentence("some addresses got it, others not: %(why)s (SMTP reply %(code)s)", values)
        return Sentence("the mail server does not take it: %(why)s (SMTP reply %(code)s)", values)
    return None


def work_of(kind: LaneKind) -> Sentence:
    """What a lane carries, in words."""
    return _WORK[kind]


_WORK = {
    LaneKind.DELIVER: Sentence("images"),
    LaneKind.FEEDBACK: Sentence("reports to the RIS"),
    LaneKind.MPPS: Sentence("performed steps that are passed on"),
    LaneKind.MPPS_EVENT: Sentence("notices of performed steps"),
    LaneKind.AUDIT: Sentence("the audit trail"),
    LaneKind.NOTIFY: Sentence("notices of rules"),
    LaneKind.COMMITMENT: Sentence("storage commitment"),
}
