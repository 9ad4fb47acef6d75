"""Says in words why a contact with a node was in vain, and what to do."""

from __future__ import annotations

from collections.abc import Mapping

from broker.model.contact import Contact
from broker.model.wording import Sentence

_REFUSED: Mapping[str, Sentence] = {  # by the code of a rejection (`dicom.wire.admission`)
    "node-authentication": Sentence(
        "It called from %(address)s, which is not its address here, or with another certificate. "
        "Correct the address of the node, or the device."
    ),
    "user-identity": Sentence("It called from %(address)s with a wrong user name or passcode, or without one."),
    "called-ae-unknown": Sentence(
        "It called from %(address)s with a wrong AE title for this broker: Knocking shows which. Correct the device."
    ),
    "calling-ae-unknown": Sentence(
        "It called from %(address)s, from where no node may call by its AE title. Correct the address of the node."
    ),
    "node-disabled": Sentence("It called from %(address)s while it is disabled. Enable the node to serve it."),
    "node-blocked": Sentence("It called from %(address)s while it is blocked. Enable the node to serve it."),
}
_NO_CONNECTION = Sentence("It could not be reached: test it to see why.")
_FAILED: Mapping[str, Sentence] = {  # by the code of a fault
    "connect-failed": _NO_CONNECTION,
    "unreachable": _NO_CONNECTION,
    "connection-lost": Sentence("It closed the connection."),
    "aborted": Sentence("It aborted the association."),
    "deadline": Sentence("It did not answer in time."),
    "no-answer": Sentence("It did not answer in time."),
    "busy": Sentence("It is busy: it cannot process anything."),
}


def reason(contact: Contact) -> Sentence:
    """Why a contact was in vain; empty for one that was not."""
    code, _, address = contact.detail.partition(" from ")
    if code in _REFUSED and not contact.good:
        return Sentence(_REFUSED[code].text, {"address": address})
    if contact.good:
        return Sentence("%(words)s", {"words": contact.detail})
    if contact.inward:
        return Sentence("The broker refused it: %(words)s", {"words": contact.detail})
    if code.startswith("tls-"):
        return Sentence("No TLS: test it to see why.")
    if code.startswith("rejected-"):
        return Sentence("It rejects the association: test it to see why.")
    return _FAILED.get(code) or Sentence("It failed: %(words)s", {"words": contact.detail})
