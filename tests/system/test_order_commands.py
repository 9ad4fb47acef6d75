"""`broker order` beside a running broker: an exam is placed, changed and called off, two patients are merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.orders.documents import order
from support.service.site import Site

WHY = "the device is out of order"


class Commands:
    """The commands of one broker."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def __call__(self, *words: str, code: int = 0) -> str:
        done = self._site.command("order", *words, environment={"COLUMNS": "200"})
        assert done.returncode == code, done.stdout + done.stderr
        return str(done.stdout + done.stderr)

    def document(self, row: int) -> dict[str, Any]:
        """An order as `show --json` has it."""
        found: dict[str, Any] = json.loads(self("show", str(row), "--json"))["document"]
        return found

    def step(self, row: int) -> dict[str, Any]:
        """Its first step."""
        found: dict[str, Any] = self.document(row)["procedures"][0]["steps"][0]
        return found


def test_an_exam_from_its_order_to_its_end_by_command(tmp_path: Path) -> None:
    with Site(tmp_path / "site") as site:
        broker, file = Commands(site), tmp_path / "order.json"
        file.write_text(json.dumps(order(1)), encoding="utf-8")
        assert "order 1: created" in broker("create", str(file))
        assert "order 1: updated" in broker("move", "1", "--station", "CT02", "--time", "14:30", "--reason", WHY)
        step = broker.step(1)
        assert (step["ScheduledStationAETitle"], step["ScheduledProcedureStepStartTime"]) == (["CT02"], "143000")
        assert "say" in broker("move", "1", "--reason", WHY, code=1).lower()  # where, or when

        seen = broker("show", "1", "--json")
        whole = json.loads(seen)
        whole["document"]["patient"]["PatientName"] = "Changed^Anna"
        file.write_text(json.dumps(whole), encoding="utf-8")
        assert "reason" in broker("edit", "1", str(file), code=2)
        edit = ("edit", "1", str(file), "--reason", "the name was misspelt")
        assert "order 1: updated" in broker(*edit)
        assert "the name was misspelt" in broker("show", "1")
        assert "changed meanwhile" in broker(*edit, code=1)  # it is no more as it was shown
        file.write_text("no JSON", encoding="utf-8")
        assert "no JSON" in broker(*edit, code=1)

        assert "order 1: canceled" in broker("cancel", "1", "--reason", WHY)
        assert broker.step(1)["ScheduledProcedureStepStatus"] == "CANCELED"
        assert "order 1: reopened" in broker("reopen", "1", "--reason", WHY)
        assert broker.step(1)["ScheduledProcedureStepStatus"] == "SCHEDULED"
        assert WHY in broker("show", "1")

        told = broker("emergency", "--modality", "CT", "--procedure", "CT polytrauma", "--station", "CT01")
        assert "order 2: created" in told
        compared = broker("merge", "1", "2")
        assert "nothing was changed" in compared
        assert "differs" in compared
        assert "patient 2 is patient 1 now" in broker("merge", "1", "2", "--reason", "the patient was registered")
        assert broker.document(2)["patient"]["PatientName"] == "Changed^Anna"
        assert "No such patient" in broker("merge", "1", "2", code=1)
