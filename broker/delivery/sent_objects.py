"""Lets audit trail and metrics know that a destination has taken an object."""

from __future__ import annotations

import time

from broker import telemetry
from broker.audit.tally import Tally
from broker.dicom.dimse import status as st
from broker.model.audit import AuditRecord
from broker.site.nodes import Node
from broker.store.images.instances import StoredObject

_WARNINGS = (st.COERCION_OF_ELEMENTS, st.ELEMENTS_DISCARDED, st.DATASET_MISMATCH_WARNING)


def note_sent(tally: Tally, node: Node, item: StoredObject, status: int) -> None:
    """A node has taken an object with this status, 0 or a warning (PS3.4 table B.2-1)."""
    if st.is_store_warning(status):
        label = f"{status:04X}" if status in _WARNINGS else "other"
        telemetry.child(telemetry.DELIVERY_WARNINGS, node.name, label).inc()
    study = item.study_instance_uid
    row = AuditRecord(
        at=time.time(),
        actor="broker",
        action="objects.sent",
        kind="study",
        object_id=0,
        detail={"study": study, "node": node.name},
        address=node.host,
    )
    tally.transferred(("sent", node.name, study), row, item.sop_class_uid)


def note_spoiled(item: StoredObject, job: int, code: str) -> None:
    """The bytes of an object are not those that were received: a disk or a person has changed them."""
    instance = telemetry.identifier(item.sop_instance_uid)
    telemetry.logger().error("object.spoiled", instance=instance, job=job, reason=code)
    telemetry.child(telemetry.OBJECTS_SPOILED, code).inc()
