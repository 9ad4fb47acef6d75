"""A journal of any size: received messages with the audit rows of what they changed, and sent ones; in plain SQL."""

from __future__ import annotations

import time

ORDERS = 10  # one order for so many messages
REFUSED = 50  # one message of so many is refused
_RAW = (
    "MSH|^~\\&|RIS|H|BROKER|RAD|20300312080000||ORM^O01|' || v || '|P|2.5.1\rPID|1||QZPAT' || v || '^^^SITE||QZname"
    "^Anna||19760229|F|||Street 1^^Town^^8000^CH||044\rPV1|1|O|AMB^1^2||||1234^QZReferrer^Hans|||||||||||V' || v || '\r"
    "ORC|NW|P' || v || '^QZ|F' || v || '^QZ|||||||1^QZEnterer\rOBR|1|P' || v || '^QZ|F' || v || '^QZ|THX^Thorax^99LOC"
    "|||||||||||||1234^QZReferrer^Hans||A' || v || '||||||CT|||1^once^^20300312103000^^R\r"
)
_GOOD = "MSH|^~\\&|BROKER|RAD|RIS|H|20300312||ACK^O01|B' || v || '|P|2.5.1\rMSA|AA|' || v || '\r"
_BAD = (
    "MSH|^~\\&|BROKER|RAD|RIS|H|20300312||ACK^O01|B' || v || '|P|2.5.1\rMSA|AE|' || v || '\rERR||OBR^1^24|"
    "103^Table value not found^HL70357|E\r"
)


def journal(first: int, last: int, *, postgresql: bool, of: int = 0) -> tuple[str, ...]:
    """Statements that add messages `first` to `last` of so many, one for each three seconds up to now."""
    numbers = f"WITH RECURSIVE n(v) AS (SELECT {first} UNION ALL SELECT v + 1 FROM n WHERE v < {last})"
    if postgresql:
        numbers = f"WITH n(v) AS (SELECT generate_series({first}, {last}))"
    at = f"{time.time() - 60} - ({of or last} - v) * 3.0"
    refused = f"v % {REFUSED} = 0"
    sender = "CASE WHEN v % 100000 = 7 THEN 'RARE|H' ELSE 'RIS' || (v % 3) || '|H' END"

    def as_bytes(text: str) -> str:
        quoted = text.replace("\r", "' || chr(13) || '" if postgresql else "' || char(13) || '")
        return f"convert_to('{quoted}', 'UTF8')" if postgresql else f"CAST('{quoted}' AS BLOB)"

    taken = "NOT (" + refused + ")" if postgresql else f"CASE WHEN {refused} THEN 0 ELSE 1 END"
    return (
        f"{numbers} INSERT INTO message (id, received_at, listener, peer, sender, control_id, message_type, digest,"
        f" raw, accepted, answer_code, answer, note) SELECT v, {at}, 'hl7', '10.0.0.7:4711', {sender}, 'M' || v,"
        f" 'ORM^O01', {as_bytes('D')}, {as_bytes(_RAW)}, {taken}, CASE WHEN {refused} THEN 'AE' ELSE 'AA' END,"
        f" CASE WHEN {refused} THEN {as_bytes(_BAD)} ELSE {as_bytes(_GOOD)} END,"
        f" CASE WHEN {refused} THEN 'OBR^1^24:103' ELSE '' END FROM n",
        f"{numbers} INSERT INTO audit (at, actor, action, object_kind, object_id, detail, address, patient)"
        f" SELECT {at}, 'hl7:' || {sender}, 'order.updated', 'order', v / {ORDERS} + 1,"
        f" '{{\"message\":' || v || '}}', '', v / {ORDERS} + 1 FROM n WHERE NOT ({refused})",
        f"{numbers} INSERT INTO sent_message (at, node, request, job, event, control_id, message_type, raw,"
        f" answer_code, answer, error) SELECT {at} + 1, 'ris', v / {ORDERS} + 1, v, 'completed', 'C' || v, 'ORM^O01',"
        f" {as_bytes(_RAW)}, 'AA', {as_bytes(_GOOD)}, '' FROM n WHERE v % {ORDERS} = 3",
    )
