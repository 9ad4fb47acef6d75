"""Each door answers with the statuses of its table, and with all of them: the conformance statement reads the table."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from support.tree import BROKER, parsed

from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import served, serving
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Request
from broker.dicom.dimse.status import AnsweredStatus
from broker.dicom.wire import admission
from broker.dicom.wire.admission import REJECTIONS, Rejection
from broker.errors import BadContent, StoreUnavailable
from broker.mpps.answered import ANSWERED
from broker.routing import scp as storage
from broker.worklist import scp as worklist

TABLE = "ANSWERED"
CREATE, SET, GET = cmd.N_CREATE_RQ, cmd.N_SET_RQ, cmd.N_GET_RQ
# by module and definition of the MPPS door: the requests that are answered by what it names
BY_REQUEST: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "mpps/scp.py": {"get": (GET,), "_handle": (CREATE, SET), "_retrieve": (GET,), "_INVALID": (CREATE, SET)},
    "mpps/checks.py": {
        "MppsAnswer": (CREATE, SET),
        "FINISHED": (SET,),
        "created": (CREATE,),
        "changed": (SET,),
        "_values": (CREATE, SET),
        "_final": (CREATE, SET),
    },
    "mpps/recording.py": {"create": (CREATE,), "change": (SET,)},
}


def _names(node: ast.AST) -> set[str]:
    """The names of statuses in a piece of code: `st.NAME`."""
    return {
        one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute)
        and isinstance(one.value, ast.Name)
        and one.value.id == "st"
        and one.attr.isupper()
    }


def _definitions(module: str) -> Iterable[tuple[str, ast.AST]]:
    """Functions, methods and values at the top of a module with their names; the table itself left out."""
    for node in parsed(BROKER / module).body:
        if isinstance(node, ast.ClassDef):
            yield from ((one.name, one) for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
            yield node.name, ast.Module([one for one in node.body if isinstance(one, ast.AnnAssign)], [])
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id != TABLE:
            yield node.targets[0].id, node


def _used(*modules: str) -> set[int]:
    names = set().union(*(_names(node) for module in modules for _, node in _definitions(module)))
    return {getattr(st, name) for name in names}


def _failures(field: int) -> set[int]:
    """What is answered for an exception of a handler."""
    request: Any = object.__new__(Request)
    request.command = cmd.Command({cmd.COMMAND_FIELD: field})
    errors = (BadContent("x", code="x"), StoreUnavailable("x"), RuntimeError("x"))
    return {Request.failure(request, error)[0] for error in errors}


def _codes(table: Iterable[AnsweredStatus]) -> set[int]:
    return {one.status for one in table}


def test_the_worklist_door() -> None:
    assert _codes(worklist.ANSWERED) == _used("worklist/scp.py", "worklist/answering.py")


def test_the_storage_door() -> None:
    assert _codes(storage.ANSWERED) == _used("routing/scp.py") | _failures(cmd.C_STORE_RQ)


def test_verification() -> None:
    assert _codes(served.ECHO_ANSWERED) == _used("service/imaging.py") | _failures(cmd.C_ECHO_RQ)


def test_every_request() -> None:
    assert _codes(serving.ANSWERED) == _used("dicom/dimse/serving.py")


@pytest.mark.parametrize("request_", [CREATE, SET, GET])
def test_the_mpps_door(request_: int) -> None:
    used = _failures(request_)
    for module, definitions in BY_REQUEST.items():
        for name, node in _definitions(module):
            names = _names(node) - {"NO_LONGER_UPDATABLE"}
            assert not names or name in definitions, f"{module}: which requests does {name} answer?"
            if request_ in definitions.get(name, ()):
                used |= {getattr(st, one) for one in names}
    assert _codes(ANSWERED[request_]) == used


def test_an_error_id_stands_beside_the_status_of_a_finished_step() -> None:
    assert [(one.status, one.error_id) for table in ANSWERED.values() for one in table if one.error_id] == [
        (st.PROCESSING_FAILURE, st.NO_LONGER_UPDATABLE)
    ]


def test_every_rejection_is_explained() -> None:
    assert set(REJECTIONS) == {value for value in vars(admission).values() if isinstance(value, Rejection)}
