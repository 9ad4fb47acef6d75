"""The alerts: each fires when it should and is quiet when it should, by promtool, and uses metrics that exist."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from support.deploy.files import DASHBOARD, RULES, alerts, exported, metric_names
from support.peers.tools import tool
from unit.service.test_status_gauges import FACTS

from broker.service.status.gauges import measured
from broker.status.judging import BrokerStatus, judge

DAY = 86400  # seconds
ON = 'broker_node_active{node="pacs"} 1'
OFF = 'broker_node_active{node="pacs"} 0'
JOB = 'lane="deliver:pacs",node="pacs"'
FREE = 'broker_filesystem_free_bytes{store="spool",worker="1"}'
SIZE = 'broker_filesystem_size_bytes{store="spool"} 100'
ASKED = 'broker_last_contact_timestamp_seconds{node="pacs",kind="query"}'
FULL = 'broker_filesystem_full_timestamp_seconds{store="spool"}'

# alert: (minutes, series that make it fire, series each of which leaves it quiet). Time begins at 0. A series is its
# name with its value, which stays (`1`) or grows each minute (`0+1`).
CASES: dict[str, tuple[int, list[str], list[list[str]]]] = {
    "Deadman": (5, ["broker_build_info 1"], []),
    "BrokerDown": (5, ["up 0"], [["up 1"], ['up{job="other"} 0']]),
    "BrokerAbsent": (10, ["up 1"], [["broker_build_info 1"]]),
    "BrokerNotServing": (5, ['broker_health{state="down"} 1'], [['broker_health{state="down"} 0', "up 1"]]),
    "BrokerDegraded": (70, ['broker_health{state="degraded"} 1'], [['broker_health{state="ok"} 1']]),
    "BrokerRestarts": (25, ["process_start_time_seconds 0+60"], [["process_start_time_seconds 0"]]),
    "ListenerClosed": (5, ['broker_listener_open{listener="DICOM"} 0'], [['broker_listener_open{listener="DICOM"} 1']]),
    "WorklistSlow": (
        20,
        [f'broker_worklist_query_seconds_bucket{{le="{le}"}} 0+{n}' for le, n in (("0.5", 0), ("2.5", 9), ("+Inf", 9))],
        [[f'broker_worklist_query_seconds_bucket{{le="{le}"}} 0+{n}' for le, n in (("0.5", 9), ("+Inf", 9))]],
    ),
    "WorklistRefused": (
        15,
        ['broker_dimse_answers_total{command="C-FIND",status="A700"} 0+1'],
        [
            ['broker_dimse_answers_total{command="C-FIND",status="0000"} 0+1'],
            ['broker_dimse_answers_total{command="C-FIND",status="A700"} 9'],
        ],
    ),
    "ImagesRefused": (
        15,
        ['broker_dimse_answers_total{command="C-STORE",status="A700"} 0+1'],
        [['broker_dimse_answers_total{command="C-STORE",status="0000"} 0+1']],
    ),
    "QueueOld": (
        20,
        [f"broker_oldest_job_timestamp_seconds{{{JOB}}} 0", ON],
        [
            [f"broker_oldest_job_timestamp_seconds{{{JOB}}} 0", OFF],
            [f"broker_oldest_job_timestamp_seconds{{{JOB}}} 0+60", f"broker_jobs_waiting{{{JOB}}} 10000", ON],
        ],
    ),
    "QueueVeryOld": (
        65,
        [f"broker_oldest_job_timestamp_seconds{{{JOB}}} 0", ON],
        [
            [f"broker_oldest_job_timestamp_seconds{{{JOB}}} 1200", ON],
            [f"broker_oldest_job_timestamp_seconds{{{JOB}}} 0", OFF],
            [
                'broker_oldest_job_timestamp_seconds{lane="audit:arr",node="arr"} 0',
                'broker_node_active{node="arr"} 1',
            ],
        ],
    ),
    "LaneBroken": (
        20,
        [f"broker_lane_failures{{{JOB}}} 3", ON],
        [[f"broker_lane_failures{{{JOB}}} 0", ON], [f"broker_lane_failures{{{JOB}}} 3", OFF]],
    ),
    "AuditBacklog": (
        70,
        ['broker_oldest_job_timestamp_seconds{lane="audit:arr",node="arr"} 0'],
        [[f"broker_oldest_job_timestamp_seconds{{{JOB}}} 0"]],
    ),
    "Held": (
        15,
        ['broker_needs_person{cause="held-objects"} 1'],
        [['broker_needs_person{cause="held-objects"} 0'], ['broker_needs_person{cause="knocking"} 1']],
    ),
    "PerformedStepWaits": (
        15,
        [f'broker_needs_person_oldest_timestamp_seconds{{cause="performed"}} -{DAY}'],
        [[f'broker_needs_person_oldest_timestamp_seconds{{cause="performed"}} -{DAY - 3600}']],
    ),
    "CountsStale": (15, ["broker_counts_stale 1"], [["broker_counts_stale 0"]]),
    "RisSilent": (10, ["broker_senders_silent 1"], [["broker_senders_silent 0"]]),
    "DeviceSilent": (
        15,
        [f"{ASKED} -{4 * DAY}", ON],
        [
            [f"{ASKED} -{4 * DAY}", OFF],
            [f"{ASKED} -{4 * DAY}", 'broker_last_contact_timestamp_seconds{node="pacs",kind="image"} -60', ON],
            ['broker_last_contact_timestamp_seconds{node="pacs",kind="delivery"} -999999', ON],
        ],
    ),
    "RefusedMessages": (
        20,
        ['broker_hl7_messages_total{answer="AE"} 0+1', 'broker_hl7_messages_total{answer="AA"} 0+9'],
        [
            ['broker_hl7_messages_total{answer="AE"} 0+1', 'broker_hl7_messages_total{answer="AA"} 0+99'],
            ['broker_hl7_messages_total{answer="AE"} 0+0.2', 'broker_hl7_messages_total{answer="AA"} 0+0.2'],
        ],
    ),
    "MessagesUnanswered": (
        20,
        ['broker_hl7_messages_total{answer="closed"} 0+1'],
        [['broker_hl7_messages_total{answer="AA"} 0+1']],
    ),
    "DiskFillsSoon": (
        30,
        [f"{FULL} 36000", f"{FREE} 20", SIZE],
        [
            [f"{FULL} 36000", f"{FREE} 50", SIZE],
            [f"{FULL} 90000", f"{FREE} 20", SIZE],
            [f"{FREE} 20", SIZE],
        ],
    ),
    "DiskRefuses": (5, ['broker_filesystem_room{store="spool"} 2'], [['broker_filesystem_room{store="spool"} 0']]),
    "WriteFailing": (5, ["broker_database_writable 0"], [["broker_database_writable 1"]]),
    "DatabaseAway": (5, ["broker_database_readable 0"], [["broker_database_readable 1"]]),
    "OutageCopyOld": (
        15,
        ['broker_worklist_copy_age_seconds{worker="1"} 0+60'],
        [['broker_worklist_copy_age_seconds{worker="1"} 30'], ["broker_worklist_copy_age_seconds 0"]],
    ),
    "DatabaseDamaged": (5, ["broker_store_damaged 1"], [["broker_store_damaged 0"]]),
    "DatabaseBehind": (5, ["broker_store_behind 1"], [["broker_store_behind 0"]]),
    "ObjectsSpoiled": (
        90,
        ['broker_objects_spoiled_total{reason="file-altered"} _x80 1'],
        [['broker_objects_spoiled_total{reason="file-altered"} 1']],
    ),
    "DutyFails": (15, ['broker_duty_failures{duty="purge"} 2'], [['broker_duty_failures{duty="purge"} 1']]),
    "LoopStalls": (20, ["broker_loop_stall_seconds_sum 0+4"], [["broker_loop_stall_seconds_sum 0+1"]]),
    "OpenFilesScarce": (
        10,
        ["broker_connections_refused_descriptors_total 0+1"],
        [["broker_connections_refused_descriptors_total 7"]],
    ),
    "ClockStepped": (
        10,
        ['broker_clock_steps_total{clock="process",direction="forward"} 0x5 1'],
        [['broker_clock_steps_total{clock="process",direction="forward"} 1']],
    ),
    "SpoolClockOff": (15, ["broker_spool_clock_ahead_seconds -9"], [["broker_spool_clock_ahead_seconds 3"]]),
    "CertificateEnds": (
        70,
        ['broker_tls_certificate_end_timestamp_seconds{key="dicom.tls"} 1700000'],
        [['broker_tls_certificate_end_timestamp_seconds{key="dicom.tls"} 1900000']],
    ),
    "BackupOld": (
        20,
        ["broker_backup_last_success_timestamp_seconds -95000"],
        [["broker_backup_last_success_timestamp_seconds -80000"], []],
    ),
    "BackupFailed": (15, ["broker_backup_failed 1"], [["broker_backup_failed 0"]]),
    "ImpostorsRefused": (
        20,
        ['broker_dicom_node_authentication_failures_total{reason="certificate"} 0+1'],
        [['broker_dicom_node_authentication_failures_total{reason="certificate"} 0+0.2']],
    ),
    "LogLinesLost": (15, ["broker_log_lines_dropped_total 0+1"], [["broker_log_lines_dropped_total 8"]]),
}


def test_every_alert_has_cases() -> None:
    assert alerts().keys() == CASES.keys()
    assert all(quiet for name, (_, _, quiet) in CASES.items() if name != "Deadman")


def test_the_rules_are_valid() -> None:
    checked = run("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_fires_and_is_quiet_when_it_should(tmp_path: Path) -> None:
    cases = [
        case(name, minutes, series, fires=fires)
        for name, (minutes, firing, quiet) in CASES.items()
        for series, fires in [(firing, True), *((lines, False) for lines in quiet)]
    ]
    file = tmp_path / "alerts.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}))
    tested = run("test", "rules", str(file))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    command = [tool("promtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def case(name: str, minutes: int, lines: list[str], *, fires: bool) -> dict[str, Any]:
    """One test of promtool, which looks whether the alert fires after so many minutes."""
    sample = {"labels": f'{{alertname="{name}"}}', "value": 1}
    question = {
        "expr": f'count by (alertname) (ALERTS{{alertname="{name}",alertstate="firing"}})',
        "eval_time": f"{minutes}m",
        "exp_samples": [sample] if fires else [],
    }
    series = [with_values(line, minutes) for line in lines]
    return {"name": f"{name}: {lines}", "interval": "1m", "input_series": series, "promql_expr_test": [question]}


def with_values(line: str, minutes: int) -> dict[str, str]:
    """A series as promtool reads it, of one broker, for so many minutes."""
    named, _, values = line.partition(" ")
    name, _, labels = named.rstrip("}").partition("{")
    more = "" if "job=" in labels else ',job="broker"'
    *before, last = values.split()
    step = "" if "+" in last else "+0"
    return {
        "series": f'{name}{{instance="broker:8080"{more}{"," if labels else ""}{labels}}}',
        "values": " ".join([*before, f"{last}{step}x{minutes}"]),
    }


@pytest.fixture(scope="module")
def names() -> set[str]:
    """Names of all series that a broker exports."""
    status = {metric.name for metric in measured(BrokerStatus(FACTS, judge(FACTS)))}
    found = exported(REGISTRY, status)
    assert {"broker_deliveries_total", "broker_loop_stall_seconds_sum", "broker_health"} <= found
    return found


def test_rules_use_metrics_that_exist(names: set[str]) -> None:
    used = {metric for rule in alerts().values() for metric in metric_names(rule["expr"])}
    assert len(used) > 25
    assert sorted(used - names) == []


def test_the_dashboard_uses_metrics_that_exist(names: set[str]) -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    targets = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked = [v["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    used = {metric for expression in [*targets, *asked] for metric in metric_names(expression)}
    assert len(used) > 15
    assert sorted(used - names) == []


def test_the_dashboard_fits_any_grafana() -> None:
    """It names no data source of one installation, and overwrites no other dashboard."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert dashboard["id"] is None
    assert dashboard["uid"] == "worklist-broker"
    assert dashboard["schemaVersion"] == 39
    [source] = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
    shown = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in shown} == {f"${{{source['name']}}}"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert [panel["title"] for panel in shown if not panel["targets"]] == []
    corners = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(corners)) == len(corners)
