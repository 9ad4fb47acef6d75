"""Rows of a database that the broker of schema 0018 wrote (commit b41df87), as that broker left them.

It had taken three orders (the third cancelled, the first begun by an MPPS), a cancel before its order, a refused
message, a mapping profile, a query of a device, an admitted device, a small object, a large one, and one that no rule
matched. Its PACS and its RIS were away, so two deliveries and a message to the RIS wait.
"""
# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from typing import Any

from support.store.earlier_objects import At, data_set

LARGE_FILE = '20261130/07/d377f3a05b434daa82a63d68619c2536.dcm'
LARGE_HEADER = bytes(128) + b'DICM\x02\x00\x00\x00UL\x04\x00\xb6\x00\x00\x00\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01\x02\x00\x02\x00UI\x1a\x001.2.840.10008.5.1.4.1.1.2\x00\x02\x00\x03\x00UI\x0e\x002.999.7.1.1.2\x00\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00\x02\x00\x12\x00UI,\x002.25.230479862418604178293851036541372196514\x02\x00\x13\x00SH\x0c\x00WLBROKER_0_1\x02\x00\x16\x00AE\x04\x00CT01'
# table: names of its columns, then its rows; tables that others refer to come first
ROWS: dict[str, tuple[Any, ...]] = {
    "configuration": (
        "kind version created_at source document",
        ('nodes', 1, At(10.424), 'site file', '[{"ae_title": "CT01", "kind": "dicom", "name": "ct1", "roles": ["modality"]}, {"ae_title": "PACS", "host": "127.0.0.1", "kind": "dicom", "name": "pacs", "port": @pacs, "roles": ["destination"]}, {"application": "RIS", "facility": "HOSPITAL", "feedback": {"events": ["started", "completed"]}, "host": "127.0.0.1", "kind": "hl7", "name": "ris", "port": @ris, "roles": ["ris"]}]'),
        ('rules', 1, At(10.438), 'site file', '{"default": {"action": "hold"}, "rule": [{"name": "CT to the archive", "send": ["pacs"], "when": {"field": "tag.Modality", "op": "is", "value": "CT"}}]}'),
        ('mapping:own', 1, At(14.362), 'cli:root', '{"toml": "name = \\"own\\"\\nextends = \\"ihe\\"\\ndescription = \\"a mapping of the site\\"\\n[senders]\\nmatch = [{ application = \\"OWN\\" }]\\n[defaults]\\nModality = \\"CR\\"\\n"}'),
        ('nodes', 2, At(22.467), 'cli:root', '[{"ae_title": "CT01", "kind": "dicom", "name": "ct1", "roles": ["modality"]}, {"ae_title": "PACS", "host": "127.0.0.1", "kind": "dicom", "name": "pacs", "port": @pacs, "roles": ["destination"]}, {"application": "RIS", "facility": "HOSPITAL", "feedback": {"events": ["started", "completed"]}, "host": "127.0.0.1", "kind": "hl7", "name": "ris", "port": @ris, "roles": ["ris"]}, {"ae_title": "CT09", "host": "127.0.0.1", "kind": "dicom", "name": "ct09", "roles": ["modality"]}]'),
    ),
    "lane": (
        "name failures open_until last_error",
        ('deliver:pacs', 1, At(1166.664), 'connect-failed'),
        ('feedback:ris', 1, At(1050.815), 'unreachable'),
    ),
    "message": (
        "id received_at listener peer sender control_id message_type digest raw accepted answer_code answer note",
        (1, At(10.569), 'hl7-1', '127.0.0.1:50916', 'RIS|HOSPITAL', 'M1', 'OMI^O23', b'n1\xa2v_\xf6x\x0e\xe3N\xe3~>{\xdb\x8eI\xdf\xce3;D\xca>\xdb\xdf\x97\xa0\xc1;oa', b'MSH|^~\\&|RIS|HOSPITAL|BROKER|RAD|20300312080000||OMI^O23^OMI_O23|M1|P|2.5.1|||||||UNICODE UTF-8\rPID|1||QZPAT1^^^HOSPITAL||M\xc3\xbcller^K\xc3\xa4the||19760229|F\rPV1|1|O|AMB^^^HOSPITAL\rORC|NW|PL1^RIS|FI1^RIS||SC||||20300312075900\rTQ1|1||||||20300312103000||R^Routine^HL70078\rOBR|1|PL1^RIS|FI1^RIS|THX^Thorax^99LOC\rIPC|A1|RP1|2.999.7.1|SPS1|CT|P1^Protocol^99LOC|||CT01\r', 1, 'AA', b'MSH|^~\\&|BROKER|RAD|RIS|HOSPITAL|20261130083330+0100||ACK^O23^ACK|BRK8C9F0BF0DE3940C28|P|2.5.1\rMSA|AA|M1\r', ''),
        (2, At(10.589), 'hl7-1', '127.0.0.1:50916', 'RIS|HOSPITAL', 'M2', 'OMI^O23', b'~\xca\xbd\xe6\xd5\x12\xf3\x9f, \x8d\xed\xaf\xa0\xea#\x92\xa6\x8d\xcf{f\xbe\xed\xa2e\xb0\x1a\x04\x8dl\xbd', b'MSH|^~\\&|RIS|HOSPITAL|BROKER|RAD|20300312080000||OMI^O23^OMI_O23|M2|P|2.5.1|||||||UNICODE UTF-8\rPID|1||QZPAT2^^^HOSPITAL||M\xc3\xbcller^K\xc3\xa4the||19760229|F\rPV1|1|O|AMB^^^HOSPITAL\rORC|NW|PL2^RIS|FI2^RIS||SC||||20300312075900\rTQ1|1||||||20300312103000||R^Routine^HL70078\rOBR|1|PL2^RIS|FI2^RIS|THX^Thorax^99LOC\rIPC|A2|RP2|2.999.7.2|SPS2|CT|P1^Protocol^99LOC|||CT01\r', 1, 'AA', b'MSH|^~\\&|BROKER|RAD|RIS|HOSPITAL|20261130083330+0100||ACK^O23^ACK|BRK3D732DAAEC164E58B|P|2.5.1\rMSA|AA|M2\r', ''),
        (3, At(10.597), 'hl7-1', '127.0.0.1:50916', 'RIS|HOSPITAL', 'M3', 'OMI^O23', b"\xf3:\xe6\xdd\xb8\x99\xb7u\x1b\xfci\x8c\x175\xdf{c7\xfb\xdc'\xa0I\xa7m2'\xb3;\x8a\x89!", b'MSH|^~\\&|RIS|HOSPITAL|BROKER|RAD|20300312080000||OMI^O23^OMI_O23|M3|P|2.5.1|||||||UNICODE UTF-8\rPID|1||QZPAT3^^^HOSPITAL||M\xc3\xbcller^K\xc3\xa4the||19760229|F\rPV1|1|O|AMB^^^HOSPITAL\rORC|NW|PL3^RIS|FI3^RIS||SC||||20300312075900\rTQ1|1||||||20300312103000||R^Routine^HL70078\rOBR|1|PL3^RIS|FI3^RIS|THX^Thorax^99LOC\rIPC|A3|RP3|2.999.7.3|SPS3|CT|P1^Protocol^99LOC|||CT01\r', 1, 'AA', b'MSH|^~\\&|BROKER|RAD|RIS|HOSPITAL|20261130083330+0100||ACK^O23^ACK|BRKF979986A2F7C45289|P|2.5.1\rMSA|AA|M3\r', ''),
        (4, At(10.600), 'hl7-1', '127.0.0.1:50916', 'RIS|HOSPITAL', 'M9', 'OMI^O23', b';\xa4\xe6Q\x95e\xbfsz\xca\x89U"\xdf\xb4:R@\'vs\xe1\x82\x8c\xe2\xc8Y+i\xc9\xd1w', b'MSH|^~\\&|RIS|HOSPITAL|BROKER|RAD|20300312080000||OMI^O23^OMI_O23|M9|P|2.5.1|||||||UNICODE UTF-8\rPID|1||QZPAT9^^^HOSPITAL||M\xc3\xbcller^K\xc3\xa4the||19760229|F\rPV1|1|O|AMB^^^HOSPITAL\rORC|CA|PL9^RIS|FI9^RIS||SC||||20300312075900\rTQ1|1||||||20300312103000||R^Routine^HL70078\rOBR|1|PL9^RIS|FI9^RIS|THX^Thorax^99LOC\rIPC|A9|RP9|2.999.7.9|SPS9|CT|P1^Protocol^99LOC|||CT01\r', 1, 'AA', b'MSH|^~\\&|BROKER|RAD|RIS|HOSPITAL|20261130083330+0100||ACK^O23^ACK|BRK5807922E87364D98A|P|2.5.1\rMSA|AA|M9\rERR||ORC^1^2|204^Unknown key identifier^HL70357|W||||The order is not known yet: if it comes, it is stored as cancelled\r', ''),
        (5, At(10.609), 'hl7-1', '127.0.0.1:50916', 'RIS|HOSPITAL', 'M3CA', 'OMI^O23', b'\n\xc3\x7f\x06\x06\xae\x82\xc4>\xae\x07R\xc6\xed\xb0b\x11"\xfb\xd8\xfcs\xfd\xd0\xca\x81\x03\xd7"\xfdo\x04', b'MSH|^~\\&|RIS|HOSPITAL|BROKER|RAD|20300312080000||OMI^O23^OMI_O23|M3CA|P|2.5.1|||||||UNICODE UTF-8\rPID|1||QZPAT3^^^HOSPITAL||M\xc3\xbcller^K\xc3\xa4the||19760229|F\rPV1|1|O|AMB^^^HOSPITAL\rORC|CA|PL3^RIS|FI3^RIS||SC||||20300312075900\rTQ1|1||||||20300312103000||R^Routine^HL70078\rOBR|1|PL3^RIS|FI3^RIS|THX^Thorax^99LOC\rIPC|A3|RP3|2.999.7.3|SPS3|CT|P1^Protocol^99LOC|||CT01\r', 1, 'AA', b'MSH|^~\\&|BROKER|RAD|RIS|HOSPITAL|20261130083330+0100||ACK^O23^ACK|BRK4200761F6CB84017A|P|2.5.1\rMSA|AA|M3CA\r', ''),
        (6, At(10.616), 'hl7-1', '127.0.0.1:50916', 'RIS|HOSPITAL', 'M4', 'OMI^O23', b'Lc\xd91\xf8\xf3\xe6\x0c\xef\xb6\x17J\xc59\xa5\xbe\x8b\xcb9\x01n\xfacX\xc9\x0e$\xd2\xcb\xd7\x0c\xa3', b'MSH|^~\\&|RIS|HOSPITAL|BROKER|RAD|20300312080000||OMI^O23^OMI_O23|M4|X|2.5.1|||||||UNICODE UTF-8\rPID|1||QZPAT4^^^HOSPITAL||M\xc3\xbcller^K\xc3\xa4the||19760229|F\rPV1|1|O|AMB^^^HOSPITAL\rORC|NW|PL4^RIS|FI4^RIS||SC||||20300312075900\rTQ1|1||||||20300312103000||R^Routine^HL70078\rOBR|1|PL4^RIS|FI4^RIS|THX^Thorax^99LOC\rIPC|A4|RP4|2.999.7.4|SPS4|CT|P1^Protocol^99LOC|||CT01\r', 0, 'AR', b'MSH|^~\\&|BROKER|RAD|RIS|HOSPITAL|20261130083330+0100||ACK^O23^ACK|BRKD2501BBC628947A88|X|2.5.1\rMSA|AR|M4\rERR||MSH^1^11|202^Unsupported processing id^HL70357|E||||Processing id is not taken here\r', 'MSH^1^11:202'),
    ),
    "patient": (
        "id patient_id issuer attributes updated_at aliases",
        (1, 'QZPAT1', 'HOSPITAL', '{"PatientName":"Müller^Käthe","PatientID":"QZPAT1","IssuerOfPatientID":"HOSPITAL","PatientBirthDate":"19760229","PatientSex":"F"}', At(10.569), '[]'),
        (2, 'QZPAT2', 'HOSPITAL', '{"PatientName":"Müller^Käthe","PatientID":"QZPAT2","IssuerOfPatientID":"HOSPITAL","PatientBirthDate":"19760229","PatientSex":"F"}', At(10.589), '[]'),
        (3, 'QZPAT3', 'HOSPITAL', '{"PatientName":"Müller^Käthe","PatientID":"QZPAT3","IssuerOfPatientID":"HOSPITAL","PatientBirthDate":"19760229","PatientSex":"F"}', At(10.597), '[]'),
    ),
    "service_request": (
        "id patient placer_number placer_issuer filler_number filler_issuer accession attributes created_at updated_at changed_by ordered_from sent_from source",
        (1, 1, 'PL1', 'RIS', 'FI1', 'RIS', 'A1', '{"CurrentPatientLocation":"AMB^^^HOSPITAL","RouteOfAdmissions":"O","PlacerOrderNumberImagingServiceRequest":"PL1","OrderPlacerIdentifierSequence":[{"LocalNamespaceEntityID":"RIS"}],"FillerOrderNumberImagingServiceRequest":"FI1","OrderFillerIdentifierSequence":[{"LocalNamespaceEntityID":"RIS"}],"IssueDateOfImagingServiceRequest":"20300312","IssueTimeOfImagingServiceRequest":"075900"}', At(10.569), At(23.541), 'hl7:RIS|HOSPITAL', 0.0, 0.0, 'RIS|HOSPITAL'),
        (2, 2, 'PL2', 'RIS', 'FI2', 'RIS', 'A2', '{"CurrentPatientLocation":"AMB^^^HOSPITAL","RouteOfAdmissions":"O","PlacerOrderNumberImagingServiceRequest":"PL2","OrderPlacerIdentifierSequence":[{"LocalNamespaceEntityID":"RIS"}],"FillerOrderNumberImagingServiceRequest":"FI2","OrderFillerIdentifierSequence":[{"LocalNamespaceEntityID":"RIS"}],"IssueDateOfImagingServiceRequest":"20300312","IssueTimeOfImagingServiceRequest":"075900"}', At(10.589), At(10.589), 'hl7:RIS|HOSPITAL', 0.0, 0.0, 'RIS|HOSPITAL'),
        (3, 3, 'PL3', 'RIS', 'FI3', 'RIS', 'A3', '{"CurrentPatientLocation":"AMB^^^HOSPITAL","RouteOfAdmissions":"O","PlacerOrderNumberImagingServiceRequest":"PL3","OrderPlacerIdentifierSequence":[{"LocalNamespaceEntityID":"RIS"}],"FillerOrderNumberImagingServiceRequest":"FI3","OrderFillerIdentifierSequence":[{"LocalNamespaceEntityID":"RIS"}],"IssueDateOfImagingServiceRequest":"20300312","IssueTimeOfImagingServiceRequest":"075900"}', At(10.597), At(10.609), 'hl7:RIS|HOSPITAL', 0.0, 0.0, 'RIS|HOSPITAL'),
    ),
    "requested_procedure": (
        "id request requested_procedure_id study_instance_uid attributes",
        (1, 1, 'RP1', '2.999.7.1', '{"RequestedProcedureID":"RP1","RequestedProcedureDescription":"Thorax","RequestedProcedureCodeSequence":[{"CodeValue":"THX","CodingSchemeDesignator":"99LOC","CodeMeaning":"Thorax"}],"RequestedProcedurePriority":"ROUTINE"}'),
        (2, 2, 'RP2', '2.999.7.2', '{"RequestedProcedureID":"RP2","RequestedProcedureDescription":"Thorax","RequestedProcedureCodeSequence":[{"CodeValue":"THX","CodingSchemeDesignator":"99LOC","CodeMeaning":"Thorax"}],"RequestedProcedurePriority":"ROUTINE"}'),
        (3, 3, 'RP3', '2.999.7.3', '{"RequestedProcedureID":"RP3","RequestedProcedureDescription":"Thorax","RequestedProcedureCodeSequence":[{"CodeValue":"THX","CodingSchemeDesignator":"99LOC","CodeMeaning":"Thorax"}],"RequestedProcedurePriority":"ROUTINE"}'),
    ),
    "scheduled_step": (
        "id procedure step_id position status status_at start_at modality patient_id patient_name accession requested_procedure_id study_instance_uid attributes answer revision updated_at held",
        (1, 1, 'SPS1', 0, 'STARTED', At(23.541), '20300312103000', 'CT', 'QZPAT1', 'muller^kathe', 'A1', 'RP1', '2.999.7.1', '{"ScheduledProcedureStepID":"SPS1","Modality":"CT","ScheduledProcedureStepDescription":"Protocol","ScheduledProtocolCodeSequence":[{"CodeValue":"P1","CodingSchemeDesignator":"99LOC","CodeMeaning":"Protocol"}],"ScheduledProcedureStepStartDate":"20300312","ScheduledProcedureStepStartTime":"103000","ScheduledStationAETitle":["CT01"]}', '{"PatientName":"Müller^Käthe","PatientID":"QZPAT1","IssuerOfPatientID":"HOSPITAL","PatientBirthDate":"19760229","PatientSex":"F","CurrentPatientLocation":"AMB^^^HOSPITAL","RouteOfAdmissions":"O","PlacerOrderNumberImagingServiceRequest":"PL1","OrderPlacerIdentifierSequence":[{"LocalNamespaceEntityID":"RIS"}],"FillerOrderNumberImagingServiceRequest":"FI1","OrderFillerIdentifierSequence":[{"LocalNamespaceEntityID":"RIS"}],"IssueDateOfImagingServiceRequest":"20300312","IssueTimeOfImagingServiceRequest":"075900","RequestedProcedureID":"RP1","RequestedProcedureDescription":"Thorax","RequestedProcedureCodeSequence":[{"CodeValue":"THX","CodingSchemeDesignator":"99LOC","CodeMeaning":"Thorax"}],"RequestedProcedurePriority":"ROUTINE","AccessionNumber":"A1","StudyInstanceUID":"2.999.7.1","ScheduledProcedureStepSequence":[{"ScheduledProcedureStepID":"SPS1","Modality":"CT","ScheduledProcedureStepDescription":"Protocol","ScheduledProtocolCodeSequence":[{"CodeValue":"P1","CodingSchemeDesignator":"99LOC","CodeMeaning":"Protocol"}],"ScheduledProcedureStepStartDate":"20300312","ScheduledProcedureStepStartTime":"103000","ScheduledStationAETitle":["CT01"],"ScheduledProcedureStepStatus":"STARTED"}]}', 2, At(23.541), 0),
        (2, 2, 'SPS2', 0, 'SCHEDULED', At(10.589), '20300312103000', 'CT', 'QZPAT2', 'muller^kathe', 'A2', 'RP2', '2.999.7.2', '{"ScheduledProcedureStepID":"SPS2","Modality":"CT","ScheduledProcedureStepDescription":"Protocol","ScheduledProtocolCodeSequence":[{"CodeValue":"P1","CodingSchemeDesignator":"99LOC","CodeMeaning":"Protocol"}],"ScheduledProcedureStepStartDate":"20300312","ScheduledProcedureStepStartTime":"103000","ScheduledStationAETitle":["CT01"]}', '{"PatientName":"Müller^Käthe","PatientID":"QZPAT2","IssuerOfPatientID":"HOSPITAL","PatientBirthDate":"19760229","PatientSex":"F","CurrentPatientLocation":"AMB^^^HOSPITAL","RouteOfAdmissions":"O","PlacerOrderNumberImagingServiceRequest":"PL2","OrderPlacerIdentifierSequence":[{"LocalNamespaceEntityID":"RIS"}],"FillerOrderNumberImagingServiceRequest":"FI2","OrderFillerIdentifierSequence":[{"LocalNamespaceEntityID":"RIS"}],"IssueDateOfImagingServiceRequest":"20300312","IssueTimeOfImagingServiceRequest":"075900","RequestedProcedureID":"RP2","RequestedProcedureDescription":"Thorax","RequestedProcedureCodeSequence":[{"CodeValue":"THX","CodingSchemeDesignator":"99LOC","CodeMeaning":"Thorax"}],"RequestedProcedurePriority":"ROUTINE","AccessionNumber":"A2","StudyInstanceUID":"2.999.7.2","ScheduledProcedureStepSequence":[{"ScheduledProcedureStepID":"SPS2","Modality":"CT","ScheduledProcedureStepDescription":"Protocol","ScheduledProtocolCodeSequence":[{"CodeValue":"P1","CodingSchemeDesignator":"99LOC","CodeMeaning":"Protocol"}],"ScheduledProcedureStepStartDate":"20300312","ScheduledProcedureStepStartTime":"103000","ScheduledStationAETitle":["CT01"],"ScheduledProcedureStepStatus":"SCHEDULED"}]}', 1, At(10.589), 0),
        (3, 3, 'SPS3', 0, 'CANCELED', At(10.609), '20300312103000', 'CT', 'QZPAT3', 'muller^kathe', 'A3', 'RP3', '2.999.7.3', '{"ScheduledProcedureStepID":"SPS3","Modality":"CT","ScheduledProcedureStepDescription":"Protocol","ScheduledProtocolCodeSequence":[{"CodeValue":"P1","CodingSchemeDesignator":"99LOC","CodeMeaning":"Protocol"}],"ScheduledProcedureStepStartDate":"20300312","ScheduledProcedureStepStartTime":"103000","ScheduledStationAETitle":["CT01"]}', '{"PatientName":"Müller^Käthe","PatientID":"QZPAT3","IssuerOfPatientID":"HOSPITAL","PatientBirthDate":"19760229","PatientSex":"F","CurrentPatientLocation":"AMB^^^HOSPITAL","RouteOfAdmissions":"O","PlacerOrderNumberImagingServiceRequest":"PL3","OrderPlacerIdentifierSequence":[{"LocalNamespaceEntityID":"RIS"}],"FillerOrderNumberImagingServiceRequest":"FI3","OrderFillerIdentifierSequence":[{"LocalNamespaceEntityID":"RIS"}],"IssueDateOfImagingServiceRequest":"20300312","IssueTimeOfImagingServiceRequest":"075900","RequestedProcedureID":"RP3","RequestedProcedureDescription":"Thorax","RequestedProcedureCodeSequence":[{"CodeValue":"THX","CodingSchemeDesignator":"99LOC","CodeMeaning":"Thorax"}],"RequestedProcedurePriority":"ROUTINE","AccessionNumber":"A3","StudyInstanceUID":"2.999.7.3","ScheduledProcedureStepSequence":[{"ScheduledProcedureStepID":"SPS3","Modality":"CT","ScheduledProcedureStepDescription":"Protocol","ScheduledProtocolCodeSequence":[{"CodeValue":"P1","CodingSchemeDesignator":"99LOC","CodeMeaning":"Protocol"}],"ScheduledProcedureStepStartDate":"20300312","ScheduledProcedureStepStartTime":"103000","ScheduledStationAETitle":["CT01"],"ScheduledProcedureStepStatus":"CANCELED"}]}', 2, At(10.609), 0),
    ),
    "step_station": (
        "step ae_title start_at",
        (2, 'CT01', '20300312103000'),
        (3, 'CT01', '20300312103000'),
        (1, 'CT01', '20300312103000'),
    ),
    "step_event": (
        "id step at before after cause actor",
        (1, 1, At(10.569), '', 'SCHEDULED', 'order:NW', 'hl7:RIS|HOSPITAL'),
        (2, 2, At(10.589), '', 'SCHEDULED', 'order:NW', 'hl7:RIS|HOSPITAL'),
        (3, 3, At(10.597), '', 'SCHEDULED', 'order:NW', 'hl7:RIS|HOSPITAL'),
        (4, 3, At(10.609), 'SCHEDULED', 'CANCELED', 'order:CA', 'hl7:RIS|HOSPITAL'),
        (5, 1, At(23.541), 'SCHEDULED', 'STARTED', 'mpps:created', 'dicom:CT01'),
    ),
    "tombstone": (
        "id at actor control order_status placer_number placer_issuer filler_number filler_issuer accession patient_id issuer steps",
        (1, At(10.600), 'hl7:RIS|HOSPITAL', 'CA', 'SC', 'PL9', 'RIS', 'FI9', 'RIS', 'A9', 'QZPAT9', 'HOSPITAL', '["SPS9"]'),
    ),
    "instance": (
        "id sop_instance_uid version sop_class_uid transfer_syntax_uid study_instance_uid series_instance_uid calling_ae called_ae peer path data_offset data_length digest received_at state reason rules_version trace facts",
        (1, '2.999.7.1.1.1', 1, '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', '2.999.7.1', '2.999.7.1.1', 'CT01', 'BROKER', '127.0.0.1', '', 0, 260, b'\xcc\xf9pZ\xebUAR\x190\x18@\x1e\xe7\xb6F\x08\xdb\xc5\x7fQ\xa3\xf0[\xd0\xd2\xc6\x94P\xa9\x03\x91', At(23.361), 'routed', '', 1, '[{"rule": "CT to the archive", "result": "true", "tests": [{"field": "tag.Modality", "op": "is", "seen": ["CT"], "result": "true"}]}]', '{"assoc.calling_ae": ["CT01"], "assoc.called_ae": ["BROKER"], "assoc.address": ["127.0.0.1"], "time.hour": [8.0], "time.weekday": [1.0], "tag.SOPClassUID": ["1.2.840.10008.5.1.4.1.1.2"], "tag.PatientID": ["QZPAT1"], "tag.Modality": ["CT"], "tag.SeriesInstanceUID": ["2.999.7.1.1"], "tag.StudyDate": ["20300312"], "tag.AccessionNumber": ["A1"], "tag.StudyInstanceUID": ["2.999.7.1"]}'),
        (2, '2.999.7.1.1.2', 1, '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', '2.999.7.1', '2.999.7.1.1', 'CT01', 'BROKER', '127.0.0.1', '20261130/07/d377f3a05b434daa82a63d68619c2536.dcm', 326, 40196, b'\x1b\xd8\xf0\xc5\xe1\xd8k+\xc6\xc0\x98\xfc\xbd\xbcI\x86\xe5\xeaG\x81H! \xf3\x82R\xfa\x1a\x97\x10X\xdf', At(23.416), 'routed', '', 1, '[{"rule": "CT to the archive", "result": "true", "tests": [{"field": "tag.Modality", "op": "is", "seen": ["CT"], "result": "true"}]}]', '{"assoc.calling_ae": ["CT01"], "assoc.called_ae": ["BROKER"], "assoc.address": ["127.0.0.1"], "time.hour": [8.0], "time.weekday": [1.0], "tag.SOPClassUID": ["1.2.840.10008.5.1.4.1.1.2"], "tag.PatientID": ["QZPAT1"], "tag.Modality": ["CT"], "tag.SeriesInstanceUID": ["2.999.7.1.1"], "tag.StudyDate": ["20300312"], "tag.AccessionNumber": ["A1"], "tag.StudyInstanceUID": ["2.999.7.1"]}'),
        (3, '2.999.7.1.1.3', 1, '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', '2.999.7.1', '2.999.7.1.1', 'CT01', 'BROKER', '127.0.0.1', '', 0, 260, b'2\xe7\x9b\xbf\t\x05\xc9_\xd5J\nd|0\x19"\xd9\xce\xaf\xbf\x97O8\x01.[\x06\xbc\xcd\xe3P%', At(23.453), 'held', 'no-rule-matched', 1, '[{"rule": "CT to the archive", "result": "false", "tests": [{"field": "tag.Modality", "op": "is", "seen": ["OT"], "result": "false"}]}]', '{"assoc.calling_ae": ["CT01"], "assoc.called_ae": ["BROKER"], "assoc.address": ["127.0.0.1"], "time.hour": [8.0], "time.weekday": [1.0], "tag.SOPClassUID": ["1.2.840.10008.5.1.4.1.1.2"], "tag.PatientID": ["QZPAT1"], "tag.Modality": ["OT"], "tag.SeriesInstanceUID": ["2.999.7.1.1"], "tag.StudyDate": ["20300312"], "tag.AccessionNumber": ["A1"], "tag.StudyInstanceUID": ["2.999.7.1"]}'),
    ),
    "content": (
        "instance data",
        (1, data_set(1, 64, "CT")),
        (3, data_set(3, 64, "OT")),
    ),
    "job": (
        "id kind lane subject group_key detail state priority due_at attempts failures lease_owner lease_until fence last_error created_at done_at",
        (1, 'deliver', 'deliver:pacs', 1, None, '{"rules": ["CT to the archive"], "rules_version": 1}', 'ready', 5, At(23.421), 1, 0, '', At(83.401), 1, 'connect-failed', At(23.361), None),
        (2, 'deliver', 'deliver:pacs', 2, None, '{"rules": ["CT to the archive"], "rules_version": 1}', 'ready', 5, At(23.416), 0, 0, '', 0.0, 0, '', At(23.416), None),
        (3, 'feedback', 'feedback:ris', 5, 'order:1', '{"order": 1, "event": "started", "status": "IP", "result": "I", "control_id": "BRK065143887EF145D49", "at": 1796024023.540536, "began": 1899538500.0, "ended": null}', 'ready', 5, At(23.642), 1, 0, '', At(83.581), 1, 'unreachable', At(23.541), None),
    ),
    "mpps": (
        "id sop_instance_uid status linking calling_ae station modality started_at ended_at document findings revision created_at updated_at outcome attention compared_at",
        (1, '2.999.5.1', 'IN PROGRESS', 'linked', 'CT01', 'CT01', 'CT', 1899538500.0, None, '{"Modality":"CT","ProcedureCodeSequence":[],"ReferencedPatientSequence":[],"PatientName":"Müller^Käthe","PatientID":"QZPAT1","PatientBirthDate":"19760229","PatientSex":"F","StudyID":"","PerformedStationAETitle":"CT01","PerformedStationName":"","PerformedLocation":"","PerformedProcedureStepStartDate":"20300312","PerformedProcedureStepStartTime":"103500","PerformedProcedureStepEndDate":"","PerformedProcedureStepEndTime":"","PerformedProcedureStepStatus":"IN PROGRESS","PerformedProcedureStepID":"PPS1","PerformedProcedureStepDescription":"","PerformedProcedureTypeDescription":"","PerformedProtocolCodeSequence":[],"ScheduledStepAttributesSequence":[{"AccessionNumber":"A1","ReferencedStudySequence":[],"StudyInstanceUID":"2.999.7.1","RequestedProcedureDescription":"Thorax","ScheduledProcedureStepDescription":"","ScheduledProtocolCodeSequence":[],"ScheduledProcedureStepID":"SPS1","RequestedProcedureID":"RP1"}],"PerformedProcedureStepDiscontinuationReasonCodeSequence":[],"PerformedSeriesSequence":[]}', '[]', 1, At(23.541), At(23.541), 'STARTED', '', None),
    ),
    "mpps_link": (
        "mpps position step reason study_instance_uid accession requested_procedure_id",
        (1, 0, 1, 'step+study', '2.999.7.1', 'A1', 'RP1'),
    ),
    "mpps_message": (
        "id mpps at kind calling_ae transfer_syntax_uid data digest",
        (1, 1, At(23.541), 'create', 'CT01', '1.2.840.10008.1.2.1', b'\x08\x00\x05\x00CS\n\x00ISO_IR 192\x08\x00`\x00CS\x02\x00CT\x08\x002\x10SQ\x00\x00\x00\x00\x00\x00\x08\x00 \x11SQ\x00\x00\x00\x00\x00\x00\x10\x00\x10\x00PN\x0e\x00M\xc3\xbcller^K\xc3\xa4the\x10\x00 \x00LO\x06\x00QZPAT1\x10\x000\x00DA\x08\x0019760229\x10\x00@\x00CS\x02\x00F  \x00\x10\x00SH\x00\x00@\x00A\x02AE\x04\x00CT01@\x00B\x02SH\x00\x00@\x00C\x02SH\x00\x00@\x00D\x02DA\x08\x0020300312@\x00E\x02TM\x06\x00103500@\x00P\x02DA\x00\x00@\x00Q\x02TM\x00\x00@\x00R\x02CS\x0c\x00IN PROGRESS @\x00S\x02SH\x04\x00PPS1@\x00T\x02LO\x00\x00@\x00U\x02LO\x00\x00@\x00`\x02SQ\x00\x00\x00\x00\x00\x00@\x00p\x02SQ\x00\x00j\x00\x00\x00\xfe\xff\x00\xe0b\x00\x00\x00\x08\x00P\x00SH\x02\x00A1\x08\x00\x10\x11SQ\x00\x00\x00\x00\x00\x00 \x00\r\x00UI\n\x002.999.7.1\x002\x00`\x10LO\x06\x00Thorax@\x00\x07\x00LO\x00\x00@\x00\x08\x00SQ\x00\x00\x00\x00\x00\x00@\x00\t\x00SH\x04\x00SPS1@\x00\x01\x10SH\x04\x00RP1 @\x00\x81\x02SQ\x00\x00\x00\x00\x00\x00@\x00@\x03SQ\x00\x00\x00\x00\x00\x00', b'\xd8A\xb8C\x7fG\x0fv\xa41H_\x8f\t\xd0\xae\xb8\xe1k\xa2\xf4\xbb1\x1a\x0e\x99\x8a\xeb}x\xd94'),
    ),
    "device_query": (
        "calling_ae address first_at last_at calls queries",
        ('CT01', '127.0.0.1', At(25.530), At(23.337), 1, '[{"at": 1796024023.337, "first": 1796024023.337, "times": 1, "count": 2, "status": "0000", "duration": 0.0143, "comment": "", "asked": {"keys": [], "secrets": [], "named": [], "status": false, "supported": true, "charset": [], "key": "", "offset": null}}]'),
    ),
    "audit": (
        "id at actor action object_kind object_id detail",
        (1, At(10.569), 'hl7:RIS|HOSPITAL', 'order.created', 'order', 1, '{"message":1,"control":"NW","status":"SC"}'),
        (2, At(10.589), 'hl7:RIS|HOSPITAL', 'order.created', 'order', 2, '{"message":2,"control":"NW","status":"SC"}'),
        (3, At(10.597), 'hl7:RIS|HOSPITAL', 'order.created', 'order', 3, '{"message":3,"control":"NW","status":"SC"}'),
        (4, At(10.600), 'hl7:RIS|HOSPITAL', 'order.parked', 'tombstone', 1, '{"message":4,"control":"CA","status":"SC"}'),
        (5, At(10.609), 'hl7:RIS|HOSPITAL', 'order.canceled', 'order', 3, '{"message":5,"control":"CA","status":"SC"}'),
        (6, At(14.362), 'cli:root', 'mapping.published', 'mapping', 1, '{"kind":"mapping:own"}'),
        (7, At(22.467), 'cli:root', 'node.admitted', 'nodes', 2, '{"node":"ct09","ae_title":"CT09","address":"127.0.0.1","bound":true}'),
        (8, At(23.541), 'dicom:CT01', 'mpps.create', 'mpps', 1, '{"message":1}'),
    ),
}
