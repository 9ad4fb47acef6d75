"""The schema of audit messages as tables (PS3.15 A.5.1.1), and a check of a message by it."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from xml.etree.ElementTree import Element, fromstring

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")  # xsd:dateTime with an offset
CODED = {"csd-code": "token!", "codeSystemName": "token!", "displayName": "token", "originalText": "token!"}
ONE, ANY, MANY, MAY = (1, 1), (0, 10**6), (1, 10**6), (0, 1)

# element: attributes with their types (`!`: must be there), children in their order with how often each may stand there
ELEMENTS: dict[str, tuple[dict[str, str], list[tuple[str, tuple[int, int]]]]] = {
    "AuditMessage": (
        {},
        [
            ("EventIdentification", ONE), ("ActiveParticipant", MANY), ("AuditSourceIdentification", ONE),
            ("ParticipantObjectIdentification", ANY),
        ],
    ),
    "EventIdentification": (
        {"EventActionCode": "C|R|U|D|E", "EventDateTime": "dateTime!", "EventOutcomeIndicator": "0|4|8|12!"},
        [("EventID", ONE), ("EventTypeCode", ANY), ("EventOutcomeDescription", MAY)],
    ),
    "EventID": (CODED, []),
    "EventTypeCode": (CODED, []),
    "ActiveParticipant": (
        {
            "UserID": "text!", "AlternativeUserID": "text", "UserName": "text", "UserIsRequestor": "boolean!",
            "NetworkAccessPointID": "token", "NetworkAccessPointTypeCode": "1|2|3|4|5",
        },
        [("RoleIDCode", ANY), ("MediaIdentifier", MAY)],
    ),
    "RoleIDCode": (CODED, []),
    "AuditSourceIdentification": (
        {"AuditEnterpriseSiteID": "token", "AuditSourceID": "token!"}, [("AuditSourceTypeCode", ANY)],
    ),
    "AuditSourceTypeCode": ({**CODED, "codeSystemName": "token", "originalText": "token"}, []),
    "ParticipantObjectIdentification": (
        {
            "ParticipantObjectID": "token!", "ParticipantObjectTypeCode": "1|2|3|4",
            "ParticipantObjectTypeCodeRole": "|".join(map(str, range(1, 27))),
            "ParticipantObjectDataLifeCycle": "|".join(map(str, range(1, 16))), "ParticipantObjectSensitivity": "token",
        },
        [
            ("ParticipantObjectIDTypeCode", ONE), ("ParticipantObjectName|ParticipantObjectQuery", ONE),
            ("ParticipantObjectDetail", ANY), ("ParticipantObjectDescription", ANY),
        ],
    ),
    "ParticipantObjectIDTypeCode": (CODED, []),
    "ParticipantObjectName": ({}, []),
    "ParticipantObjectQuery": ({}, []),
    "ParticipantObjectDetail": ({"type": "token!", "value": "base64!"}, []),
    "ParticipantObjectDescription": (
        {},
        [
            ("MPPS", ANY), ("Accession", ANY), ("SOPClass", ANY), ("ParticipantObjectContainsStudy", MAY),
            ("Encrypted", MAY), ("Anonymized", MAY),
        ],
    ),
    "MPPS": ({"UID": "token!"}, []),
    "Accession": ({"Number": "token!"}, []),
    "SOPClass": ({"UID": "token", "NumberOfInstances": "integer!"}, [("Instance", ANY)]),
    "ParticipantObjectContainsStudy": ({}, [("StudyIDs", ANY)]),
    "StudyIDs": ({"UID": "token!"}, []),
}  # fmt: skip


def checked(message: bytes) -> Element:
    """The root of a message; an AssertionError says where it does not follow the schema."""
    root = fromstring(message)
    assert root.tag == "AuditMessage"
    _check(root)
    began = [one for one in root.iter("ActiveParticipant") if one.get("UserIsRequestor") == "true"]
    assert len(began) == 1, "exactly one participant began it"
    return root


def _check(element: Element) -> None:
    attributes, children = ELEMENTS[element.tag]
    assert set(element.attrib) <= set(attributes), element.attrib
    for name, kind in attributes.items():
        value = element.get(name)
        assert value is not None or not kind.endswith("!"), f"{element.tag} has no {name}"
        if value is not None:
            _check_value(value, kind.removesuffix("!"), f"{element.tag} {name}")
    if element.tag == "ParticipantObjectQuery":
        base64.b64decode(element.text or "", validate=True)
    found = [child.tag for child in element]
    for names, (least, most) in children:
        count = 0
        while found and found[0] in names.split("|"):
            found.pop(0)
            count += 1
        assert least <= count <= most, f"{element.tag}: {count} of {names}"
    assert not found, f"{element.tag}: {found} out of place"
    for child in element:
        _check(child)


def _check_value(value: str, kind: str, place: str) -> None:
    match kind:
        case "text" | "token":
            assert kind == "text" or value == " ".join(value.split()), place
        case "dateTime":
            assert _DATE_TIME.match(value), f"{place}: {value}"
            assert datetime.fromisoformat(value).tzinfo is not None
        case "boolean":
            assert value in ("true", "false"), place
        case "integer":
            int(value)
        case "base64":
            base64.b64decode(value, validate=True)
        case _:
            assert value in kind.split("|"), f"{place}: {value}"
