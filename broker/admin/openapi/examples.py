"""Shows a body for each operation that takes one, by the name of its schema. Each can be sent as it is."""

from __future__ import annotations

from typing import Any

_ORDER: dict[str, Any] = {
    "patient": {
        "PatientID": "20071234",
        "IssuerOfPatientID": "HOSPITAL",
        "PatientName": "EXAMPLE^ANNA",
        "PatientBirthDate": "1980-05-17",
        "PatientSex": "F",
    },
    "request": {"AccessionNumber": "A1001", "PlacerOrderNumberImagingServiceRequest": "PL1001"},
    "procedures": [
        {
            "RequestedProcedureDescription": "CT thorax",
            "steps": [
                {
                    "Modality": "CT",
                    "ScheduledStationAETitle": ["CT01"],
                    "ScheduledProcedureStepStartDate": "20300312",
                    "ScheduledProcedureStepStartTime": "10:30",
                }
            ],
        }
    ],
}
_NODE = {"name": "ct7", "kind": "dicom", "ae_title": "CT07", "roles": ["modality"]}
_ARCHIVE = {
    "name": "pacs",
    "kind": "dicom",
    "ae_title": "PACS",
    "host": "192.0.2.10",
    "port": 104,
    "roles": ["destination"],
}
_RULE = {"name": "ct", "when": {"field": "tag.Modality", "op": "is", "value": "CT"}, "send": ["pacs"]}
_PROFILE = 'name = "clinic7"\nextends = "ihe"\n\n[senders]\nmatch = [{ application = "RIS7", facility = "CLINIC7" }]\n'
_MESSAGE = "\n".join(
    (
        "MSH|^~\\&|RIS|HOSPITAL|BROKER|RAD|20300312080000||OMI^O23^OMI_O23|1|P|2.5.1||||||UNICODE UTF-8",
        "PID|1||20071234^^^HOSPITAL||EXAMPLE^ANNA||19800517|F",
        "PV1|1|O|AMB^^^HOSPITAL",
        "ORC|NW|PL1001^RIS|FI1001^RIS||SC||||20300312075900",
        "TQ1|1||||||20300312103000||R^Routine^HL70078",
        "OBR|1|PL1001^RIS|FI1001^RIS|THX^Thorax^99LOC",
        "IPC|A1001|RP1001|2.999.7.1001|SPS1001|CT|P1^Protocol^99LOC|||CT01",
    )
)
_WHY = {"reason": "change 4711", "author": "anna"}

EXAMPLES: dict[str, Any] = {
    "ActivateDraftBody": {"revision": 1, **_WHY},
    "AddBody": {"node": _NODE, **_WHY},
    "AdmitBody": {"ae_title": "CT08", "address": "192.0.2.8", "name": "ct8", "roles": ["modality"], **_WHY},
    "AskBody": {"device": "CT01", "keys": {"Modality": "CT"}},
    "AuditExportBody": {"PatientID": "20071234", "action": "order.", "form": "csv"},
    "AuditSearchBody": {"PatientID": "20071234", "IssuerOfPatientID": "HOSPITAL", "action": "order.", "limit": 20},
    "BatchBody": {"orders": [_ORDER], "dry_run": True},
    "CallOffBody": {"reason": "the patient has left"},
    "DealtBody": {"rows": [1], "note": "sent again by hand"},
    "ChangesBody": {"toml": _PROFILE, "limit": 50},
    "DeviceBody": {"ae_title": "CT09", "address": "192.0.2.9", **_WHY},
    "DiscardBody": {"reason": "sent by hand"},
    "DocumentRollbackBody": {"version": 1, **_WHY},
    "EditBody": {**_ORDER, "reason": "the RIS sent a wrong birth date"},
    "EmergencyBody": {
        "Modality": "CT",
        "RequestedProcedureDescription": "CT polytrauma",
        "ScheduledStationAETitle": "CT01",
        "PatientSex": "M",
        "PatientAge": "040Y",
    },
    "EndBody": {"status": "DISCONTINUED", "reason": "the device was switched off"},
    "ExplainBody": {"device": "CT01", "AccessionNumber": "A1001"},
    "FactorCodeBody": {"code": "123456"},
    "FindBody": {"name": "exa", "station": "CT01"},
    "DiscardDeliveriesBody": {"matching": {"node": "pacs"}, "state": "waiting", "reason": "sent by hand"},
    "RerouteBody": {"matching": {"node": "cad"}, "to": "pacs", "reason": "the CAD is down"},
    "FindStudiesBody": {"patient": "20071234", "node": "pacs", "incomplete": True, "limit": 20},
    "ResendBody": {"to": "pacs", "reason": "the PACS lost a disk"},
    "RerouteStudyBody": {"to": "pacs", "node": "cad", "reason": "the CAD is down"},
    "RetryBody": {"matching": {"node": "pacs"}, "reason": "the PACS is back"},
    "PauseBody": {"reason": "the PACS gets new disks"},
    "DiscardJobsBody": {"matching": {"node": "pacs"}, "expected": 3, "reason": "sent by hand"},
    "FsckBody": {"repair": True, "reason": "files came back from a backup"},
    "FsckFilesBody": {"adopt": True, "reason": "restored from the backup of last night"},
    "HeldObjectsBody": {"rows": [1], "reason": "the rule is mended"},
    "ReleaseBody": {"anyway": False},
    "ReleaseJobsBody": {"matching": {"node": "pacs"}, "expected": 3, "anyway": False},
    "ImportBody": {"dry_run": True},
    "ImportsBody": {"orders": [{"place": "orders.csv:2", "order": _ORDER}], "dry_run": True},
    "LinkBody": {"step": 1, "item": 0},
    "MergeBody": {"retired": 2, "reason": "the emergency patient is registered"},
    "MessageSearchBody": {"AccessionNumber": "A1001"},
    "MoveBody": {
        "ScheduledProcedureStepID": "SPS1001",
        "ScheduledStationAETitle": ["CT02"],
        "reason": "CT01 is out of order",
    },
    "NewTokenBody": {"name": "ris-import", "role": "operator", "days": 90},
    "NodeTestBody": {"resume": False},
    "NodesBody": {"node": [_NODE, _ARCHIVE], **_WHY},
    "NumberBody": {"AccessionNumber": "A1001"},
    "OrderBody": _ORDER,
    "OwnPasswordBody": {"password": "green tea and rain 7"},
    "PatchBody": {"changes": {"host": "192.0.2.11"}, **_WHY},
    "ProfileBody": {"toml": _PROFILE},
    "PublishProfileBody": {"toml": _PROFILE, **_WHY},
    "ReasonBody": {"reason": "sent again by hand"},
    "RemoveBody": {"anyway": False, **_WHY},
    "ReopenBody": {"ScheduledProcedureStepID": "SPS1001", "reason": "ended by mistake"},
    "ReplayBody": {"since": 1_900_000_000, "message_type": "OMI", "limit": 10},
    "RevokeBody": {"reason": "the program is gone"},
    "PlanVersionBody": {"version": 1, "at": 1_900_000_000, **_WHY},
    "RollbackProfileBody": {"version": 0, **_WHY},
    "RuleDraftBody": {"rule": [_RULE], "default": {"action": "hold"}, "reason": "change 4711"},
    "RulesBody": {"rule": [_RULE], "default": {"action": "hold"}, **_WHY},
    "SearchBody": {"AccessionNumber": "A1001", "limit": 10},
    "SetAsideBody": {"reason": "a test of the device"},
    "SignedBody": _WHY,
    "StudyTestBody": {
        "objects": [{"tag.Modality": "CT", "tag.SeriesInstanceUID": "1.2.3"}, {"tag.Modality": "SR"}],
        "study": {"study.complete": "quiet"},
    },
    "RulesReplayBody": {"since": 0, "rule": [_RULE], "default": {"action": "hold"}},
    "RulesTestBody": {"facts": {"tag.Modality": "CT", "assoc.calling_ae": "CT01"}},
    "SendObjectsBody": {"rows": [1], "to": ["pacs"], "reason": "asked for by the ward"},
    "SiteBody": {"node": [_NODE, _ARCHIVE], "rule": [_RULE], "default": {"action": "hold"}, **_WHY},
    "SinceBody": {"since": 0},
    "StudyBody": {"study": "2.999.66"},
    "TestBody": {"message": _MESSAGE},
    "UserBody": {"name": "anna", "role": "operator", "full_name": "Anna Example", "language": "fr"},
    "UserChangeBody": {"role": "integrator", "reason": "a new task"},
    "UserReasonBody": {"reason": "has left the hospital"},
}
