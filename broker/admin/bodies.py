"""Reads the bodies of requests: JSON, validated by its declared type, in a thread where it is not small."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, cast

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import Field, TypeAdapter, ValidationError

from broker.admin.json_text import read_json
from broker.admin.problems import Problem
from broker.threads import ON_LOOP

ERRORS = 1000  # of a body, beyond which they are only counted: to list them takes one long call of the interpreter
RowNumber = Annotated[int, Field(ge=1, le=2**63 - 1)]  # what a database can look for
Moment = Annotated[
    float, Field(ge=0, le=253_402_300_799, allow_inf_nan=False)
]  # s since the epoch, until the year 9999
_JSON = re.compile(r"application/(?:[^;]*\+)?json\s*(?:;|\Z)", re.IGNORECASE)


async def aside(read: Callable[[bytes], Any], body: bytes) -> Any:
    """What a reader makes of a body; in a thread if it is not small, or others would wait."""
    return read(body) if len(body) <= ON_LOOP else await asyncio.to_thread(read, body)


class BodyRoute(APIRoute):
    """A route that takes JSON alone. The framework would read and validate any size of it on the event loop."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the framework, which gets a body that has been read and validated."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        kind: TypeAdapter[Any] = TypeAdapter(cast(Any, self.body_field.field_info.annotation))

        async def read_first(request: Request) -> Response:
            body = await request.body()
            if body and not _JSON.match(request.headers.get("content-type", "")):
                raise Problem(415, "The body is JSON: Content-Type application/json")
            read = await aside(lambda given: _validated(kind, given), body) if body else None
            return await handle(_ReadRequest(request, body, read))

        return read_first


class _ReadRequest(Request):
    """A request whose JSON was read already."""

    def __init__(self, request: Request, body: bytes, read: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._given, self._read = body, read

    async def body(self) -> bytes:
        return self._given

    async def json(self) -> Any:
        return self._read


def _validated(kind: TypeAdapter[Any], body: bytes) -> Any:
    """The value of a body. Raises Problem, or RequestValidationError with what is wrong."""
    value = read_json(body)
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        if error.error_count() > ERRORS:
            raise Problem(422, f"More than {ERRORS} fields cannot be used") from None
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from None
