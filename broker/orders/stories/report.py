"""What became of an order placed by REST or import, as JSON. Pure; holds paths of fields, never their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.hl7.findings import Finding
from broker.orders.stories.placing import OrderRefused, Placed


def path(finding: Finding) -> str:
    """The field of a finding; stories that know only HL7 locations name the patient by PID-3."""
    if "^" in finding.location:
        return "patient/PatientID" if finding.location.startswith("PID^1^3") else ""
    return finding.location


def fields(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """Findings by the paths of their fields."""
    return [{"path": path(finding), "text": finding.text} for finding in findings]


def result(placed: Placed, *, dry: bool = False) -> dict[str, Any]:
    """One order of many: created, updated or unchanged; our number unless nothing was written."""
    numbered = {} if dry else {"id": placed.row}
    return {"outcome": placed.action, **numbered, "warnings": fields(placed.warnings)}


def refused(error: OrderRefused) -> dict[str, Any]:
    """One order of many that was refused, and why."""
    return {"outcome": "refused", "detail": str(error), "errors": fields(error.findings)}
