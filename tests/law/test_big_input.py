"""No parser of bytes from outside gets more than 64 KiB on the event loop: while it works, nobody else is answered.

Watched are all functions that get long bytes or text in the thread of the loop. `PASSING` names those that may: they
hand on what they got, or look at its beginning. The HL7 door has the same law in `store/test_hl7_bounds.py`.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from fastapi.routing import APIRoute
from support.mpps.performed import bytes_of, creation
from support.orders.documents import order
from support.parsing import long_arguments
from support.service.rest import TOKEN, application, routers
from support.tree import modules, name, parsed
from support.worklist.sources import item, node, worklist_server
from support.worklist.worklist import IMPLICIT, SPS, encoded

from broker.admin.bodies import BodyRoute
from broker.delivery.feedback import answers
from broker.dicom.association.user import Remote
from broker.hl7.mllp.client import MllpClient
from broker.hl7.mllp.framing import wrap
from broker.mpps.scp import PerformedStepService
from broker.settings import load
from broker.site.directory import Directory
from broker.store.db.database import Database
from broker.threads import ON_LOOP
from broker.worklist.scp import WorklistService
from broker.worklist.source.source_import import SourceImport

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

READERS = ("broker.", "json", "tomllib", "pydantic", "fastapi", "email", "csv", "base64", "re")
PASSING = {
    "broker.admin.bodies.aside",
    "broker.admin.access.__init__",
    "broker.admin.bodies.__init__",
    "broker.hl7.mllp.client._judged",
    "broker.hl7.mllp.framing.__init__",
    "broker.hl7.mllp.framing.wrap",
    "broker.worklist.source.source_import._read_aside",
    "broker.dicom.dimse.invocation.__init__",
    "broker.dicom.dataset.read.encoding_of",  # looks at the first element
    "broker.dicom.dataset.read._looks_explicit",
}
LONG = 100_000


def texts(count: int, size: int) -> list[str]:
    return [f"{number:06d}" + "x" * size for number in range(count)]


BODIES: dict[str, Any] = {
    "POST /api/v1/orders": order(1, RequestedProcedureComments="x" * LONG),
    "POST /api/v1/orders/batch": {"orders": [order(number) for number in range(300)], "dry_run": True},
    "POST /api/v1/imports": {"orders": [{"place": str(n), "order": order(n)} for n in range(300)], "dry_run": True},
    "POST /api/v1/rules/check": {"rule": [{"name": text} for text in texts(5, 20_000)]},
    "POST /api/v1/site/check": {"node": [{"name": text} for text in texts(1000, 100)]},
    "POST /api/v1/mappings/check": {"toml": "# " + "x" * LONG},
    "POST /api/v1/messages/test": {"message": "MSH|^~\\&|A|B|C|D|2030||ORM^O01|1|P|2.5\rNTE|1||" + "x" * LONG},
}
REFUSED: list[bytes] = [
    b"[" + b"{}," * 40_000 + b"0]",
    b'"' + b"x" * LONG,
    json.dumps(dict.fromkeys(texts(9000, 9), 1)).encode(),
]


def test_every_body_is_read_by_one_route_class(database: Database) -> None:
    routes = [route for router in routers(database, load(None)) for route in router.routes]
    with_body = [route for route in routes if isinstance(route, APIRoute) and route.body_field is not None]
    assert len(with_body) > 20
    assert [route.path for route in with_body if not isinstance(route, BodyRoute)] == []


def test_json_of_the_web(database: Database) -> None:
    app = application(database, load(None))
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", "Idempotency-Key": "one"}

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://broker") as http:
            for place, body in BODIES.items():
                method, path = place.split()
                for content in (json.dumps(body).encode(), *REFUSED):
                    assert len(content) > ON_LOOP
                    request = http.build_request(method, path, content=content, headers=headers)
                    with long_arguments(READERS, PASSING) as seen:
                        answer = await http.send(request)
                    assert (place, answer.status_code // 100 == 5, seen) == (place, False, set())

    asyncio.run(ask())


def test_the_description_of_rest_is_made_in_a_thread(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes half a second the first time."""
    app = application(database, load(None))
    makers = []
    monkeypatch.setattr(app, "openapi", lambda: makers.append(threading.get_ident()) or {})

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://broker") as http:
            return (await http.get("/api/docs", headers={"Authorization": f"Bearer {TOKEN}"})).status_code

    assert asyncio.run(ask()) == 200
    assert makers
    assert threading.get_ident() not in makers


def unbounded(schema: Any, place: str = "") -> Iterator[str]:
    """Places of numbers without an upper bound."""
    if isinstance(schema, dict):
        if schema.get("type") in ("integer", "number") and not {"maximum", "exclusiveMaximum", "enum", "const"} & set(
            schema
        ):
            yield place
        for key, inner in schema.items():
            yield from unbounded(inner, f"{place}/{key}")
    for number, inner in enumerate(schema if isinstance(schema, list) else ()):
        yield from unbounded(inner, f"{place}/{number}")


def test_every_number_that_rest_takes_has_bounds(database: Database) -> None:
    """What is longer than a column is our mistake, not the caller's: it was answered by 500."""
    described = application(database, load(None)).openapi()
    asked = [operation for path in described["paths"].values() for operation in path.values()]
    models = described["components"]["schemas"]
    names, bodies = set[str](), json.dumps([operation.get("requestBody") for operation in asked])
    while new := set(re.findall(r"#/components/schemas/(\w+)", bodies)) - names:
        names |= new
        bodies = json.dumps([models[one] for one in new])
    found = [*unbounded([operation.get("parameters") for operation in asked])]
    found += [f"{one}{place}" for one in names for place in unbounded(models[one])]
    # is read only: `orders.documents.document` leaves it out
    assert sorted(found) == ["EditBody/properties/id", "OrderBody/properties/id"]


class _Request:
    """A request of DICOM with all its data there."""

    def __init__(self, data: bytes) -> None:
        self.command = SimpleNamespace(message_id=7, sop_instance="2.999.1", tags=lambda element: ())
        self.context = SimpleNamespace(abstract_syntax="1.2.840.10008.5.1.4.31", transfer_syntax=IMPLICIT)
        self.peer = SimpleNamespace(calling_ae="CT01", called_ae="BROKER", address="127.0.0.1", extended={})
        self.data, self.given, self.cancelled, self.statuses = self, data, False, list[int]()

    async def read_all(self, limit: int) -> bytes:
        return self.given

    async def drain(self) -> None:
        """Nothing is left."""

    async def respond(self, status: int, data: bytes | None = None, **more: Any) -> None:
        self.statuses.append(status)

    async def respond_all(self, status: int, answers: Any) -> int:
        return len(answers)


def test_data_sets_of_dicom(database: Database) -> None:
    worklist = WorklistService(database, max_answers=100, charset="ISO_IR 192")
    performed = PerformedStepService(database, Directory(), ZoneInfo("Europe/Zurich"), "ISO_IR 192", lambda: None)
    comments = "x" * LONG
    requests = [
        (worklist.find, encoded({"AccessionNumber": "", "PatientComments": comments, SPS: [{"Modality": "CT"}]})),
        (worklist.find, b"\x08\0\x50\0\0\0\0\0" * 10_000),
        (performed.create, bytes_of(creation() | {"CommentsOnThePerformedProcedureStep": comments})),
        (performed.change, bytes_of({"CommentsOnThePerformedProcedureStep": comments})),
    ]

    async def ask() -> None:
        for act, data in requests:
            request = _Request(data)
            assert len(data) > ON_LOOP
            with long_arguments(READERS, PASSING) as seen:
                await act(request)  # type: ignore[arg-type]
            assert (act.__name__, len(request.statuses), seen) == (act.__name__, 1, set())

    asyncio.run(ask())
    performed.close()


def test_answers_of_a_worklist_server(database: Database) -> None:
    with worklist_server() as server:
        server.items = [item(1, TextValue="x" * LONG)]
        remote = Remote("127.0.0.1", server.port, "WORKLIST", "BROKER")
        source = SourceImport(database, node(server.port, "old"), remote, ZoneInfo("Europe/Zurich"), "UNASSIGNED")

        async def run() -> set[str]:
            with long_arguments(READERS, PASSING) as seen:
                await source.run()
            return seen

        assert asyncio.run(run()) == set()


def test_answers_of_a_ris(database: Database) -> None:
    acknowledgement = b"MSH|^~\\&|A|B|C|D|2030||ACK|9|P|2.5\rMSA|AA|M1\rNTE|1||" + b"x" * LONG + b"\r"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\x1c\r")
        writer.write(wrap(acknowledgement))
        await writer.drain()
        writer.close()

    async def exchange() -> tuple[bytes, set[str]]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, await MllpClient.connect("127.0.0.1", server.sockets[0].getsockname()[1]) as client:
            with long_arguments(READERS, PASSING) as seen:
                answer = await client.exchange(b"MSH", 20, lambda raw: answers.answers(raw, "M1"))
            return answer, seen

    assert asyncio.run(exchange()) == (acknowledgement, set())


# calls of these read bytes; a module that makes one must be known here
PARSERS = frozenset(
    {"json.loads", "orjson.loads", "tomllib.loads", "tomllib.load", "decode_data_set", "scan", "read_reply",
     "csv.reader", "fromstring", "base64.b64decode", "model_validate_json", "validate_json"}
)  # fmt: skip
KNOWN = {
    "broker/admin/json_text.py": "in a thread beyond 64 KiB",
    "broker/admin/api/messages/views.py": "routes in threads",
    "broker/admin/web/messages/journal.py": "routes in threads",
    "broker/orders/journal/reading.py": "routes in threads",
    "broker/accounts/oidc.py": "routes in threads",
    "broker/admin/web/shell.py": "a cookie of at most 1,500 characters",
    "broker/admin/web/kept.py": "at most 16,384 characters, which this installation sealed",
    "broker/backup/spool_copy.py": "lines of a backup, at most 10,000 characters each, by a command",
    "broker/audit/kept.py": "a file of our own, read at the start",
    "broker/commitment/data_sets.py": "called in threads of the door",
    "broker/mpps/dataset.py": "called in the threads of the door",
    "broker/routing/adopting/one_file.py": "objects up to the limit of the door, in threads of the web or by a command",
    "broker/routing/reception.py": "called in threads of the spool",
    "broker/routing/rejudging.py": "called in threads of the web",
    "broker/routing/hindsight/explaining.py": "rows of our own, in threads of the web",
    "broker/routing/hindsight/replaying.py": "rows of our own, in threads of the web",
    "broker/routing/levels/carrying_out.py": "rows of our own, in a thread of the housekeeping",
    "broker/routing/levels/judging.py": "rows of our own, in a thread of the housekeeping",
    "broker/routing/levels/reading.py": "rows of our own, in a thread of the housekeeping",
    "broker/admin/api/routing/held_objects.py": "rows of our own, in threads of the web",
    "broker/admin/web/held_objects.py": "rows of our own, in threads of the web",
    "broker/admin/web/rules/catalogue.py": "rows of our own, in threads of the web",
    "broker/delivery/mpps_sender.py": "in a thread",
    "broker/delivery/web/credentials.py": "at most 64 KiB",
    "broker/delivery/web/stow_answer.py": "called in a thread",
    "broker/worklist/answering.py": "in a thread beyond 4 KiB; for pages in threads",
    "broker/worklist/explain/sight.py": "answers of our own, in a thread of the database",
    "broker/worklist/source/asking.py": "in a thread beyond 64 KiB",
    "broker/settings/toml_text.py": "of mappings: routes in threads; of files: the start and commands",
    "broker/settings/mistakes.py": "the configuration, at the start",
    "broker/settings/origins.py": "the configuration, at the start",
    "broker/service/workers/channel.py": "lines of our own processes",
    "broker/service/doctor/machine.py": "a small file of our own, read by a command or in a thread",
    "broker/service/status/disks.py": "a small file of our own, read at the start",
    "broker/service/status/row_marks.py": "a small file of our own, in threads of housekeeping",
    "broker/service/status/senders.py": "rows of our own: 100 senders, each with 170 numbers",
}
OWN_WORDS = (
    "broker/store/",
    "broker/cli/",
    "broker/simulate/",
    "broker/tools/",
)  # what we wrote, or no loop of the doors


def test_who_reads_bytes_is_known(database_url: str) -> None:
    found = set()
    for path in modules():
        calls = (ast.unparse(call.func) for call in ast.walk(parsed(path)) if isinstance(call, ast.Call))
        if not name(path).startswith(OWN_WORDS) and PARSERS.intersection(calls):
            found.add(name(path))
    assert found == set(KNOWN)
