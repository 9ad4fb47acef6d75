"""Chapter 8 and annex A.C: security (PS3.2 N.8; PS3.15 A.5, B.12; PS3.7 D.3.3.7)."""

from __future__ import annotations

from broker import tls
from broker.audit.messages import meaning
from broker.audit.messages.meaning import Code
from broker.conformance.facts import StatementFacts
from broker.conformance.statement import StatementSection, TableBlock, points, section, table
from broker.site.proof import ACCEPTED_KINDS

PORTS = "TCP ports"


def made(facts: StatementFacts) -> StatementSection:
    """Chapter 8."""
    return section(
        "8",
        "Security",
        section(
            "8.1",
            "Introduction",
            "The broker admits systems by AE title, address, certificate and user identity, as the node names them. "
            "Who changes or sees something of a patient is recorded in the audit trail.",
        ),
        section(
            "8.2",
            "External network requirements",
            points(
                "NTP: the clock of the machine is kept right by its operating system.",
                "DNS: host names of nodes are looked up by the operating system. Addresses need none.",
                "Syslog: an audit repository, where a node is one.",
            ),
        ),
        section("8.3", "TCP ports", _ports(facts)),
        section(
            "8.4",
            "Security profiles",
            section("8.4.1", "Secure use and user identity", "See 8.5. No secure use profile is claimed."),
            section("8.4.2", "Secure transport", *_transport(facts)),
            section("8.4.3", "Media"),
            section("8.4.4", "Attribute confidentiality", "None. Objects are not de-identified."),
            section("8.4.5", "Digital signatures", "The broker makes and checks none. See 5.2.5.2 for those it gets."),
            section("8.4.6", "Further profiles", "Audit trail message format and transmission: see A.C."),
        ),
        section("8.5", "User identity negotiation", *_identity(facts)),
        section("8.6", "DICOM web services"),
        section(
            "8.7",
            "Other",
            "Pages and REST need a person who is signed in, or a token. Roles say what each may see and do.",
        ),
    )


def _ports(facts: StatementFacts) -> TableBlock:
    settings = facts.settings
    rows = []
    if settings.dicom.plain:
        rows.append(("DICOM", _port(settings.dicom.port), "no TLS"))
    if settings.dicom.tls is not None:
        rows.append(("DICOM", _port(settings.dicom.tls.port), "TLS, certificates on both sides"))
    return table(PORTS, ("Service", "Port", "Transport"), rows)


def _port(port: int) -> str:
    return str(port) if port else "any free one"


def _transport(facts: StatementFacts) -> tuple[str | TableBlock, ...]:
    state = "in force" if facts.settings.dicom.tls is not None else "not in force: `[dicom.tls]` is not configured"
    suites = [(suite,) for suite in tls.CIPHERS.split(":") if not suite.startswith("@")]
    return (
        f"PS3.15 B.12, the profile of BCP 195 without a way down to older versions. For the DICOM port it is {state}. "
        f"Oldest version: {tls.OLDEST.name.replace('TLSv1_', 'TLS 1.')}. Both sides have a certificate; chain, "
        "validity, purpose and revocation (where a list is given) are checked. As client the broker also checks the "
        "name of the server. There are no session tickets, no compression and no renegotiation.",
        table("Cipher suites of TLS 1.2", ("OpenSSL name",), suites),
        "Of TLS 1.3 all suites of the machine's OpenSSL may be used.",
    )


def _identity(facts: StatementFacts) -> tuple[StatementSection, ...]:
    kinds = ", ".join(f"{int(kind)} ({kind.name.replace('_', ' ').lower()})" for kind in ACCEPTED_KINDS)
    required = facts.settings.dicom.user_identity == "required"
    who = "everybody who associates" if required else "nodes that have a `username`"
    return (
        section(
            "8.5.1",
            "As association requestor",
            f"Types proposed: {kinds}, to nodes that have a `username`. A positive response is asked for.",
        ),
        section(
            "8.5.2",
            "As association acceptor",
            f"Types accepted: {kinds}. It is asked of {who}. Name and passcode must be those of the node. A positive "
            "response is given where it is asked for and the identity was checked.",
        ),
    )


def audit() -> StatementSection:
    """Annex A.C."""
    codes = sorted(
        {(one.value, one.meaning) for one in vars(meaning).values() if isinstance(one, Code) and one.scheme == "DCM"}
    )
    return section(
        "A.C",
        "Security details",
        points(
            "Configuration management: settings are read at the start; nodes and rules have versions with author, time "
            "and reason.",
            "Time: the clock of the machine. Addresses: fixed or of the operating system.",
            "Audit messages: PS3.15 A.5 by syslog to nodes with role `audit`, over TLS (RFC 5425), TCP (RFC 6587) or "
            "UDP (RFC 5426). They wait while the repository is away.",
        ),
        table("Codes of audit messages: events and types", ("Code (DCM)", "Meaning"), codes),
    )
