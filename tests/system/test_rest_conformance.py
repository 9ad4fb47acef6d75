"""REST answers as its OpenAPI document says: requests by Schemathesis to a broker that has patients, by each role.

A few requests to each operation; `BROKER_FULL=1 pytest tests/system/test_rest_conformance.py` sends 200 of each kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.scale import scaled
from support.service.canaries import FilledSite, filled

EXAMPLES = scaled(3, 200)  # of good, and of bad requests to an operation
CHECKS: list[Any] = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip
ROLES = ("", "viewer", "auditor", "integrator", "operator", "admin")
# rows and names that there are, by parameter; the generated ones are mostly unknown
KNOWN = {"study": "1", "id": 1, "row": 1, "user": 1, "session": 1, "token": 1, "number": 1, "node": "old"}
BATCH = "/api/v1/orders/batch"
FINE = {200, 201, 204, 404, 409, 412, 428}  # of an example that fits no row of this broker


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilledSite]:
    with filled(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="module")
def operations(hospital: FilledSite) -> list[APIOperation]:
    """Every operation of the document that the broker serves."""
    with hospital.client() as http:
        document = http.get("/api/openapi.json").json()
    config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    loaded = schemathesis.openapi.from_dict(document, config=config)
    found = [result.ok() for result in loaded.get_all_operations()]
    assert len(found) > 70
    return found


class Asking:
    """Sends requests by the token of a role, and judges the answers."""

    def __init__(self, hospital: FilledSite) -> None:
        self._hospital = hospital
        self._session = requests.Session()
        self.wrong: list[str] = []
        self.last = ""  # the last exchange, in short
        self.answer = requests.Response()  # the last one

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def ask(self, case: Case, role: str, *checks: Any) -> int:
        """The status. Raises what is wrong with the answer."""
        token = self._hospital.tokens[role] if role else "none"
        headers = {"Authorization": f"Bearer {token}"}
        answer = case.call(base_url=self._hospital.site.web, headers=headers, session=self._session, timeout=60)
        self.answer = answer
        self.last = f"{role}: {answer.request.url} {case.body!r:.300} -> {answer.status_code} {answer.text:.300}"
        case.validate_response(answer, checks=[*CHECKS, *checks])
        return answer.status_code

    def run(self, operation: APIOperation, mode: GenerationMode, count: int, check: Callable[[Case], object]) -> None:
        """Try generated requests; note what is wrong, and go on."""

        @settings(
            max_examples=count, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(operation.as_strategy(generation_mode=mode, path_parameters=known(operation, mode)))
        def tried(case: Case) -> None:
            check(case)

        try:
            tried()
        except Unsatisfiable:  # nothing can be wrong with a request that has no part
            assert mode is GenerationMode.NEGATIVE, operation.label
        except (Exception, FailureGroup) as error:
            parts = error.exceptions if isinstance(error, FailureGroup) else [error]
            told = "\n".join(f"{part!s:.700}" for part in parts)
            self.wrong.append(f"{mode.value} {operation.label}\n{self.last}\n{told}")


def known(operation: APIOperation, mode: GenerationMode) -> dict[str, Any] | None:
    """Path parameters that name something; none for bad requests."""
    if mode is GenerationMode.NEGATIVE:
        return None
    names = {"/api/v1/nodes/": "ct1", "/api/v1/mappings/": "ihe"}
    named = next((name for path, name in names.items() if operation.path.startswith(path)), "")
    found = KNOWN | {"name": named}
    given = {name: value for name, value in found.items() if f"{{{name}}}" in operation.path}
    return given or None


def test_an_order_that_was_read_can_be_written_back(hospital: FilledSite) -> None:
    """Also one that came by HL7, with all that messages tell of the patient."""
    with hospital.client() as http:
        [found] = http.post("/api/v1/orders/search", json={"AccessionNumber": "CANARYACC2"}).json()["orders"]
        path = f"/api/v1/orders/{found['id']}"
        read = http.get(path)
        written = http.put(path, json=read.json(), headers={"If-Match": read.headers["ETag"]})
    assert written.status_code == 200, written.text
    assert "Allergies" in read.json()["visit"]


def test_answers_are_as_the_document_says(hospital: FilledSite, operations: list[APIOperation]) -> None:
    """Good requests by each role, then more of them, and bad ones, by the admin."""
    with Asking(hospital) as asking:

        def bad(case: Case) -> None:
            if case.operation.path != BATCH:
                asking.ask(case, "admin", negative_data_rejection)
            elif asking.ask(case, "admin") == 200:  # one bad order does not refuse the others
                assert "refused" in [one["outcome"] for one in asking.answer.json()["results"]]

        for operation in operations:
            asked: list[int] = []

            def by_each(case: Case, asked: list[int] = asked) -> None:
                for role in ROLES if not asked else ROLES[-1:]:
                    asked.append(asking.ask(case, role))

            asking.run(operation, GenerationMode.POSITIVE, EXAMPLES, by_each)
            asking.run(operation, GenerationMode.NEGATIVE, EXAMPLES, bad)
    assert asking.wrong == [], "\n\n".join(asking.wrong)
    assert hospital.site.alive()


def test_every_example_can_be_sent_as_it_is(hospital: FilledSite, operations: list[APIOperation]) -> None:
    """Each operation with a body shows one, and nothing in it has to be changed to try it."""
    told = {}
    with hospital.client() as http:
        document = http.get("/api/openapi.json").json()
        for operation in operations:
            raw = document["paths"][operation.path][operation.method]
            if "requestBody" not in raw:
                continue
            path = operation.path
            for name, value in (known(operation, GenerationMode.POSITIVE) or {}).items():
                path = path.replace(f"{{{name}}}", str(value))
            path = path.replace("{job}", "1")
            answer = http.request(operation.method, path, json=example(document, raw), headers={"If-Match": "*"})
            if answer.status_code not in FINE:
                told[operation.label] = answer.text[:300]
    assert told == {}, json.dumps(told, indent=1)


def example(document: dict[str, Any], operation: dict[str, Any]) -> Any:
    """The first example of the body of an operation."""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    schema = next((one for one in schema.get("anyOf", ()) if "$ref" in one), schema)
    [shown] = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]["examples"]
    return json.loads(json.dumps(shown))
