"""Builds order messages by hl7apy, which shares nothing with the reader that they check."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hl7apy.core import Message

from broker.simulate.orders import SimulatedOrder, SimulatedPatient
from broker.simulate.stations import Code

APPLICATION = {"OMI": "SIM_RIS", "ORM": "SIM_OLDRIS"}
FACILITY = "SIM_HOSPITAL"
_SCHEME = "99SIM"


def build(order: SimulatedOrder, control_id: str, now: datetime) -> bytes:
    """The message of a new order for its station's interface, in UTF-8."""
    message = _omi_o23(order) if order.station.interface == "OMI" else _orm_o01(order)
    _header(message.msh, order.station.interface, control_id, now)
    return str(message.to_er7()).encode("utf-8")


def _omi_o23(order: SimulatedOrder) -> Any:
    """OMI^O23 of HL7 2.5.1 as in IHE RAD-4: timing in TQ1, everything of the step in IPC."""
    message = Message("OMI_O23", version="2.5.1")
    pid = message.omi_o23_patient.pid
    _patient(pid, order.patient)
    visit = message.omi_o23_patient.omi_o23_patient_visit.pv1
    _visit(visit)
    group = message.omi_o23_order
    _common(group.orc, order)
    timing = group.omi_o23_timing.tq1
    timing.tq1_1 = "1"
    timing.tq1_7 = _stamp(order.start)
    timing.tq1_9.cwe_1 = "R"
    request = group.obr
    _request(request, order)
    _code(request.obr_4, "ce", order.station.procedure)
    request.obr_44.ce_1, request.obr_44.ce_2, request.obr_44.ce_3 = (*order.station.procedure, _SCHEME)
    step = group.ipc
    step.ipc_1.ei_1 = order.accession
    step.ipc_2.ei_1 = order.procedure_id
    step.ipc_3.ei_1 = order.study_instance_uid
    step.ipc_4.ei_1 = order.step_id
    step.ipc_5.ce_1 = order.station.modality
    _code(step.ipc_6, "ce", order.station.protocol)
    step.ipc_7 = order.station.room
    step.ipc_9 = order.station.ae_title
    return message


def _orm_o01(order: SimulatedOrder) -> Any:
    """ORM^O01 of HL7 2.3.1 as in IHE RAD-4: identifiers in OBR-18 to 20, the Study Instance UID in ZDS."""
    message = Message("ORM_O01", version="2.3.1")
    _patient(message.orm_o01_patient.pid, order.patient)
    _visit(message.orm_o01_patient.orm_o01_patient_visit.pv1)
    group = message.orm_o01_order
    _common(group.orc, order)
    group.orc.orc_7.tq_4 = _stamp(order.start)
    group.orc.orc_7.tq_6 = "R"
    request = group.orm_o01_order_detail.orm_o01_choice.obr
    _request(request, order)
    service = request.obr_4
    _code(service, "ce", order.station.procedure)
    service.ce_4, service.ce_5, service.ce_6 = (*order.station.protocol, _SCHEME)
    request.obr_18 = order.accession
    request.obr_19 = order.procedure_id
    request.obr_20 = order.step_id
    request.obr_24 = order.station.modality
    message.add_segment("ZDS")
    message.zds.add_field("zds_1")
    message.zds.zds_1 = f"{order.study_instance_uid}^{APPLICATION['ORM']}^Application^DICOM"
    return message


def _header(msh: Any, interface: str, control_id: str, now: datetime) -> None:
    msh.msh_3 = APPLICATION[interface]
    msh.msh_4 = FACILITY
    msh.msh_5 = "BROKER"
    msh.msh_6 = "RADIOLOGY"
    msh.msh_7 = _stamp(now)
    msh.msh_9 = "OMI^O23^OMI_O23" if interface == "OMI" else "ORM^O01"
    msh.msh_10 = control_id
    msh.msh_11 = "P"
    msh.msh_18 = "UNICODE UTF-8"


def _patient(pid: Any, patient: SimulatedPatient) -> None:
    pid.pid_3.cx_1 = patient.patient_id
    pid.pid_3.cx_4.hd_1 = FACILITY
    pid.pid_3.cx_5 = "PI"
    for (family, given), writing in zip(patient.name, "AIP", strict=False):
        name = pid.add_field("pid_5")
        name.xpn_1 = family
        name.xpn_2 = given
        name.xpn_7 = "L"
        name.xpn_8 = writing
    pid.pid_7 = f"{patient.birth_date:%Y%m%d}"
    pid.pid_8 = patient.sex


def _visit(pv1: Any) -> None:
    pv1.pv1_2 = "O"
    pv1.pv1_8.xcn_1 = "D001"
    pv1.pv1_8.xcn_2 = "Überweiser-Test"
    pv1.pv1_8.xcn_3 = "Édith"


def _common(orc: Any, order: SimulatedOrder) -> None:
    orc.orc_1 = "NW"
    orc.orc_2.ei_1 = order.placer
    orc.orc_3.ei_1 = order.filler
    orc.orc_5 = "SC"


def _request(obr: Any, order: SimulatedOrder) -> None:
    obr.obr_1 = "1"
    obr.obr_2.ei_1 = order.placer
    obr.obr_3.ei_1 = order.filler


def _code(field: Any, kind: str, code: Code) -> None:
    for component, value in enumerate((*code, _SCHEME), 1):
        setattr(field, f"{kind}_{component}", value)


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y%m%d%H%M%S}"
