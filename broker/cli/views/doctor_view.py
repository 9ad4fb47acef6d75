"""Prints what `broker doctor` found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from broker.cli.output import console, joined, say_json
from broker.model.check import CheckFinding, CheckVerdict
from broker.service.doctor.checks import examine
from broker.settings import load

_COLOURS = {CheckVerdict.OK: "green", CheckVerdict.WARN: "yellow", CheckVerdict.BAD: "red"}


def run(config: Path | None, *, as_json: bool) -> int:
    """Look and print; the exit code: 1 if something is bad. Raises ConfigurationError."""
    findings = examine(load(config), config)
    bad = any(finding.verdict is CheckVerdict.BAD for finding in findings)
    if as_json:
        say_json({"bad": bad, "findings": [asdict(finding) for finding in findings]}, indent=2)
    else:
        _show(findings)
    return 1 if bad else 0


def _show(findings: Sequence[CheckFinding]) -> None:
    screen = console()
    for finding in findings:
        mark = (f"{finding.verdict:4}  ", _COLOURS[finding.verdict])
        screen.print(joined(mark, f"{finding.check}: {finding.text}"), soft_wrap=True)
        if finding.next_step:
            screen.print(joined("      next: ", finding.next_step), soft_wrap=True)
