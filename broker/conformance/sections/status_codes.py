"""Section 7.3: status codes sent and received, from the tables of the doors and of the senders (PS3.2 N.7.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from broker.commitment.report_scp import ANSWERED as OF_REPORTS
from broker.commitment.scp import ANSWERED as OF_COMMITMENT
from broker.conformance.statement import StatementSection, TableBlock, points, section, table
from broker.delivery.outcome import VERDICTS, JobVerdict, RequestKind, verdict
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import served, serving, words
from broker.dicom.dimse import status as st
from broker.dicom.dimse.status import AnsweredStatus
from broker.mpps.answered import ANSWERED as OF_PERFORMED_STEPS
from broker.routing.scp import ANSWERED as OF_STORAGE
from broker.worklist.scp import ANSWERED as OF_WORKLIST

SENT = "Statuses sent"
_MEANING = {
    JobVerdict.DONE: "done",
    JobVerdict.BUSY: "sent again later",
    JobVerdict.REFUSED: "held for a person",
    JobVerdict.NOT_THERE: "the N-CREATE is sent again, then the N-SET",
}
_TAKEN = (st.SUCCESS, st.NOT_ALL_SUPPORTED, st.ATTRIBUTE_LIST_ERROR, st.VALUE_OUT_OF_RANGE, st.COERCION_OF_ELEMENTS)
_REQUESTS = {
    RequestKind.STORE: "C-STORE",
    RequestKind.CREATE: "N-CREATE",
    RequestKind.SET: "N-SET",
    RequestKind.EVENT: "N-EVENT-REPORT, N-ACTION",
}
_MPPS = {cmd.N_CREATE_RQ: "N-CREATE of MPPS", cmd.N_SET_RQ: "N-SET of MPPS", cmd.N_GET_RQ: "N-GET of MPPS"}


def made() -> StatementSection:
    """Section 7.3."""
    return section(
        "7.3",
        "Status codes",
        section(
            "7.3.1",
            "Communication failures",
            points(
                "A peer that is silent for longer than 7.1 allows: the association is aborted. What was sent is tried "
                "again later.",
                "The association ends before an answer: the request is sent again. An object that may have caused the "
                "end is tried alone.",
                "A peer that breaks the protocol: the association is aborted (A-ABORT of the provider).",
                "A rejected association: tried again later, with growing waits.",
            ),
        ),
        section("7.3.2", "DIMSE services", _sent(), _received()),
        section("7.3.3", "DICOM web services"),
    )


def _sent() -> StatementSection:
    return section(
        "7.3.2.1",
        "Statuses sent, as SCP",
        _table("C-ECHO", served.ECHO_ANSWERED),
        _table("C-FIND of the worklist", OF_WORKLIST),
        _table("C-STORE", OF_STORAGE),
        *(_table(name, OF_PERFORMED_STEPS[field]) for field, name in _MPPS.items()),
        _table("N-ACTION of storage commitment", OF_COMMITMENT),
        _table("N-EVENT-REPORT of storage commitment", OF_REPORTS),
        _table("requests of any kind", serving.ANSWERED),
    )


def _table(of: str, answered: Iterable[AnsweredStatus]) -> TableBlock:
    rows = [(code_text(one), words.status(one.status).rpartition(" (")[0], one.when) for one in answered]
    return table(f"{SENT}: {of}", ("Status", "Meaning", "When"), rows)


def code_text(one: AnsweredStatus) -> str:
    """A status as the statement shows it: `0110, Error ID A710`."""
    return f"{one.status:04X}" + (f", Error ID {one.error_id:04X}" if one.error_id else "")


def _received() -> StatementSection:
    return section(
        "7.3.2.2",
        "Statuses received, as SCU",
        table("Statuses received", ("Status", *_REQUESTS.values()), [*_known(), ("any other", *_verdicts(0xC000))]),
        points(
            "A request that may have arrived before, and is sent again: 0111 counts as done, and so does 0110 with "
            "Error ID A710 to the last N-SET of a step.",
            "Worklist query: FF00 and FF01 bring an item, 0000 ends the import as complete. Any other status ends it "
            "as incomplete, and nothing is withdrawn.",
            "C-ECHO: 0000 is good, any other status is shown to the person who tests.",
        ),
    )


def _known() -> Iterator[tuple[str, ...]]:
    for code in (*_TAKEN, *VERDICTS):
        whole_class = code in (st.COERCION_OF_ELEMENTS, st.OUT_OF_RESOURCES)
        text = {st.COERCION_OF_ELEMENTS: "Bxxx", st.OUT_OF_RESOURCES: "A7xx"}[code] if whole_class else f"{code:04X}"
        yield text, *_verdicts(code)


def _verdicts(code: int) -> Iterator[str]:
    return (_MEANING[verdict(kind, code)] for kind in _REQUESTS)
