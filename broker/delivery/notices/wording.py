"""Says what a notice tells: a JSON document for a webhook, a text for people by mail. No patient data is in either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from broker.site.tables.mail import Mail
from broker.store.notices import StoredNotice

_POLICY = SMTP.clone(cte_type="7bit")  # whatever a rule is called, the mail is ASCII
_LONGEST = 120  # characters of a subject that a rule has a say in
_DOES = {"send": "sends to", "hold": "holds", "discard": "discards", "notify": "only notifies"}


@dataclass(frozen=True, slots=True)
class Teller:
    """Who tells: the AE title of the broker, the clock of its site, and the address of its pages, empty for none."""

    ae_title: str
    zone: tzinfo
    pages: str


def document(told: StoredNotice, devices: Sequence[str], teller: Teller) -> dict[str, Any]:
    """The JSON document. `devices`: the names of the nodes that have the calling AE title."""
    notice = told.notice
    return {
        "id": notice.key,
        "event": "rule-acted",
        "broker": teller.ae_title,
        "at": datetime.fromtimestamp(told.at, teller.zone).isoformat(timespec="seconds"),
        "rule": notice.rule,
        "rules_version": notice.rules_version,
        "level": notice.level,
        "action": notice.action,
        "destinations": list(notice.destinations),
        "device": {"ae_title": notice.device, "node": devices[0] if len(devices) == 1 else ""},
        "modality": notice.modality,
        "objects": told.objects,
        "link": _link(told, teller),
    }


def mail(told: StoredNotice, devices: Sequence[str], teller: Teller, table: Mail, now: datetime) -> bytes:
    """The mail, of ASCII bytes with lines of at most 998. Nothing in it can begin a header of its own."""
    said = document(told, devices, teller)
    message = EmailMessage(_POLICY)
    message["From"] = table.sender
    message["To"] = ", ".join(table.to)
    message["Subject"] = plain(f"{said['broker']}: rule {said['rule']}")[:_LONGEST]
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{said['id']}@{table.sender.partition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers by machines
    message.set_content("\n".join(_lines(said)) + "\n", cte="quoted-printable")
    return message.as_bytes()


def plain(text: str) -> str:
    """A text on one line without control characters."""
    return "".join(one if one.isprintable() else " " for one in text)


def _lines(said: dict[str, Any]) -> list[str]:
    device = said["device"]
    does = " ".join((_DOES[said["action"]], ", ".join(said["destinations"]))).strip()
    rows = {
        "Rule": f"{said['rule']} (version {said['rules_version']}, level {said['level']})",
        "What it does": does,
        "Device": " ".join(filter(None, (device["ae_title"], f"({device['node']})" if device["node"] else ""))),
        "Modality": said["modality"] or "-",
        "Objects so far": str(said["objects"]),
        "First object": said["at"],
        "Page": said["link"] or "-",
    }
    return [f"{name + ':':16} {plain(value)}" for name, value in rows.items()]


def _link(told: StoredNotice, teller: Teller) -> str:
    """The page of the exam, or that of the rules where no order is known; empty without an address of the pages."""
    if not teller.pages:
        return ""
    return f"{teller.pages}/exams/{told.order}" if told.order else f"{teller.pages}/rules"
