"""Order messages of one patient, each group with what it needs, and what stands in a worklist afterwards."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from sqlalchemy import text

from broker.store.db.engine import open_engine
from support.peers.tools import run
from support.service.site import Site


def group(control: str, number: str, *, status: str = "", start: str = "20300312103000", modality: str = "CT") -> str:
    """ORC and OBR of one order, v2.5: the start in ORC-7, everything else left to the broker."""
    orc = f"ORC|{control}|{number}^QZ|||{status}||^^^{start}"
    return f"{orc}\rOBR|1|{number}^QZ||THX^Thorax^99LOC||||||||||||||||||||{modality}\r"


def message(*groups: str, patient: str = "QZPAT1", control_id: str = "", kind: str = "ORM^O01", extra: str = "") -> str:
    """A message of some groups; `extra` are segments before the first one."""
    identity = control_id or uuid4().hex[:16]
    head = f"MSH|^~\\&|QZRIS|SITE|BROKER|RAD|20300312080000||{kind}|{identity}|P|2.5||||||UNICODE UTF-8\r"
    return f"{head}PID|1||{patient}^^^SITE||Müller^Käthe||19760229|F\r{extra}{''.join(groups)}"


def rows(site: Site, url: str, query: str, **values: Any) -> list[tuple[Any, ...]]:
    """Read the database of a broker, SQLite or PostgreSQL (`url`; empty: SQLite)."""
    engine = open_engine(url or f"sqlite:///{site.data / 'broker.db'}", readers=1)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]
    finally:
        engine.dispose()


def statuses(site: Site, url: str, number: str) -> list[str]:
    """Statuses of the steps of an order by its placer number."""
    query = (
        "SELECT s.status FROM scheduled_step s JOIN requested_procedure p ON s.procedure = p.id "
        "JOIN service_request r ON p.request = r.id WHERE r.placer_number = :number ORDER BY s.id"
    )
    return [row[0] for row in rows(site, url, query, number=number)]


def worklist(site: Site, accession: str, *keys: str) -> str:
    """What DCMTK's findscu prints of the answers for an accession number."""
    asked = [word for key in ("0040,0100[0].0040,0002", "0040,0100[0].0040,0003", *keys) for word in ("-k", key)]
    query = ("findscu", "-W", "-aec", "BROKER", "-k", f"0008,0050={accession}", *asked)
    return run(*query, "127.0.0.1", str(site.dicom)).stdout
