"""Section 5.2.6: storage commitment, towards modalities and towards archives (PS3.2 N.5, PS3.4 annex J)."""

from __future__ import annotations

from broker.commitment.commitment_sender import SAME_ASSOCIATION
from broker.commitment.deciding import CommitmentTimes
from broker.commitment.walk import ASKED_TOGETHER
from broker.conformance.facts import StatementFacts
from broker.conformance.naming import number
from broker.conformance.statement import StatementSection, points, section, table
from broker.dicom.dimse import status as st
from broker.model.lane import LaneKind
from broker.queue.lane_work import GIVE_UP
from broker.store.commitments.packing import MOST

REASONS = "Failure reasons sent"


def made(facts: StatementFacts) -> StatementSection:
    """Section 5.2.6."""
    number_, title = "5.2.6", "Storage Commitment"
    if not facts.commits:
        return section(
            number_,
            title,
            "Not supported now: no destination proves that it has objects (key `commitment` of its node). A C-STORE "
            "that was answered with success is on stable storage; a modality that needs storage commitment asks the "
            "archive.",
        )
    return section(number_, title, _scp(CommitmentTimes()), _scu(facts, CommitmentTimes()))


def _scp(times: CommitmentTimes) -> StatementSection:
    return section(
        "5.2.6.1",
        "Storage Commitment as SCP",
        points(
            "The broker commits nothing by itself. An object is committed when each destination that was to get it "
            "and has the key `commitment` has proven that it has it: by a C-STORE with success or a warning "
            '("delivered"), or by its own storage commitment ("ask").',
            "As long as the bytes of an object are here, they are read again, and their SHA-256 is compared with that "
            "of its reception.",
            f"A request names at most {number(MOST)} objects. N-ACTION is answered with success after it is on stable "
            "storage. Each object that it names is in exactly one of the two lists of the result.",
            f"An object that has not come yet is waited for {times.unknown / 60:g} min, one that waits for a "
            f"destination {times.delivery / 3600:g} h.",
            "The result goes over a new association in which the broker takes the role of the SCP. It is tried again "
            f"with growing waits for {GIVE_UP[LaneKind.COMMITMENT] / 3600:g} h, then a person decides. A node without "
            "host and port gets it over an association of its own, that of its request or a later one; so does one "
            "that could not be reached.",
            "The same request again, before its result was told, is answered with success and changes nothing. Any "
            "other request with a known Transaction UID has failed for each object (0131).",
            "Storage Media File-Set and Retrieve AE Title are not sent.",
        ),
        table(REASONS, ("Reason", "When"), [(f"{code:04X}", when) for code, when in _REASONS.items()]),
    )


def _scu(facts: StatementFacts, times: CommitmentTimes) -> StatementSection:
    title = "Storage Commitment as SCU"
    if not facts.asks:
        return section("5.2.6.2", title, "No destination is asked.")
    return section(
        "5.2.6.2",
        title,
        points(
            "An archive is asked once it has all objects of a request that are for it, at the latest after "
            f"{times.together / 60:g} min for those that it has. One N-ACTION names at most {number(ASKED_TOGETHER)} "
            "objects. Each try has a Transaction UID of its own.",
            f"The report is taken over the association of the N-ACTION for {SAME_ASSOCIATION:g} s, and at any time "
            "over one of the archive, in which it is the SCP by role selection.",
            f"Without a report within {times.answer / 3600:g} h, and after the reasons 0110, 0112 and 0213, it is "
            f"asked again, {times.asks} times in all. After a second 0112 the object is sent again.",
            "A report with a Transaction UID that this system was not sent is refused with 0110, changes nothing and "
            "stands in the audit trail.",
        ),
    )


_REASONS = {
    st.PROCESSING_FAILURE: "A destination did not prove it in time or has refused it; a person gave up its delivery; "
    "no destination that counts was to get the object; its bytes here are spoiled.",
    st.NO_SUCH_SOP_INSTANCE: "The object did not come, was discarded, or is no longer known; or an archive says so.",
    st.CLASS_INSTANCE_CONFLICT: "The object has another SOP class than the request says.",
    st.SOP_CLASS_NOT_SUPPORTED: "The object did not come, and its SOP class is none that is accepted.",
    st.DUPLICATE_TRANSACTION_UID: "Another request had the same Transaction UID.",
    st.RESOURCE_LIMITATION: "An archive says so.",
}
