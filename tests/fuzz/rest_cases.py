"""Requests to every route of REST: parameters and bodies as the OpenAPI document says, and as it does not."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

from support.orders.documents import order
from support.service.rest import TOKEN, application

from broker.settings import load
from broker.store.db.database import Database
from fuzz import hl7_messages
from fuzz.hl7_messages import CANARY
from fuzz.tree import havoc

Schema = dict[str, Any]
CONFIG = Path(__file__).parents[2] / "config"
DEEP = 6  # of values made by a schema
TEXTS = (
    "", " ", "a", "CT", "CT01", "QZ1", "20300312", "2026-02-30", "20260312103000", "10:30", "2.999.1.2", "STAT", "all",
    f"{CANARY}^Zoë", "山田^太郎", "é" * 65, "x" * 17, "x" * 65, "x" * 5000, "a\nb", "\x00", "\x7f", "\u202eabc",
    "<script>alert(1)</script>", "' OR 1=1 --", "%s%n%x", "{{7*7}}", "=1+1", "../../etc/passwd", "(a+)+$", "a*", "[",
    "*",
    "127.0.0.1", "::1", "999.1.1.1", "http://169.254.169.254/", "true", "null", "NaN", "Infinity", "-1e400", "1e9", "0",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 100, 1000, 65535, 65536, 2**31, 2**63 - 1, 2**63, 10**30, -(2**63), 0.5, 1e308, -0.0)
ODD: tuple[Any, ...] = (
    None, True, False, [], {}, [[]], [None], [{}], {"": ""}, {"a": {"b": [1, {"c": "d"}]}}, [1] * 600, ["x"] * 600,
    {str(n): n for n in range(200)}, *TEXTS, *NUMBERS,
)  # fmt: skip
NODE = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "roles": ["destination"]}
RULE = {"name": "all", "when": {"field": "tag.Modality", "op": "is", "value": "CT"}, "send": ["pacs"]}
PATTERN = {"name": "p", "when": {"any": [{"field": "assoc.calling_ae", "op": "glob", "value": "M*"}]}, "send": ["pacs"]}


@cache
def document() -> Schema:
    """The OpenAPI document of the product."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/broker.db")
        try:
            return application(database, load(None)).openapi()
        finally:
            database.close()


@cache
def operations() -> tuple[tuple[str, str, Schema], ...]:
    """Method, path and description of every operation."""
    found = document()["paths"].items()
    return tuple((method.upper(), path, given) for path, methods in found for method, given in methods.items())


def _resolved(schema: Schema) -> Schema:
    while "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def value(rng: Random, schema: Schema, depth: int = 0) -> Any:
    """A value of a schema; here and there another one."""
    schema = _resolved(schema)
    if rng.randrange(14) == 0 or depth > DEEP:
        return rng.choice(ODD)
    for many in ("anyOf", "oneOf", "allOf"):
        if many in schema:
            return value(rng, rng.choice(schema[many]), depth)
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return _object(rng, schema, depth)
    if kind == "array":
        count = rng.choice((0, 1, 1, 1, 2, 3))
        return [value(rng, schema.get("items", {}), depth + 1) for _ in range(count)]
    if kind == "string":
        return _text(rng, schema)
    if kind in ("integer", "number"):
        return rng.choice(
            (*NUMBERS, schema.get("maximum", 7), schema.get("maximum", 7) + 1, schema.get("minimum", 0) - 1)
        )
    return rng.random() < 0.5 if kind == "boolean" else rng.choice(ODD)


def _text(rng: Random, schema: Schema) -> str:
    most = min(schema.get("maxLength", 40), 2000)
    return rng.choice((*TEXTS, *schema.get("examples", ()), "x" * most, "x" * (most + 1)))


def _object(rng: Random, schema: Schema, depth: int) -> dict[str, Any]:
    made = {}
    needed = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        if rng.random() < (0.97 if name in needed else 0.35):
            made[name] = value(rng, inner, depth + 1)
    if rng.randrange(12) == 0 or schema.get("additionalProperties") not in (None, False):
        made[rng.choice(("extra", "__class__", "a" * 300, CANARY[:3], "\ud83d\ude00", "0"))] = rng.choice(ODD)
    return made


def _toml(rng: Random) -> str:
    text = rng.choice(_profiles())
    way = rng.randrange(4)
    if way == 0:
        return text
    if way == 1:
        return havoc(rng, text.encode()).decode("utf-8", "replace")
    lines = text.split("\n")
    for _ in range(rng.choice((1, 3))):
        place = rng.randrange(len(lines))
        lines[place : place + rng.choice((0, 1))] = rng.choice((
            [lines[place]], [], ["a = 1"], ["x = [" * 30], ['PatientID = ["PID-99999.1"]'], ['PatientName = "PID-5"'],
            ["[values]"],
            ["a.b.c = 1"], ["extends = 'ihe'"], ["[" + "a." * 200 + "b]"], ["name = 5"],
            ["k = 99999999999999999999999"], ["d = 0001-01-01"],
        ))  # fmt: skip
    return "\n".join(lines)


@cache
def _profiles() -> tuple[str, ...]:
    return tuple(file.read_text(encoding="utf-8") for file in sorted((CONFIG / "mapping").glob("*.toml")))


def _message(rng: Random) -> str:
    segments = hl7_messages.sample(rng, "M1")
    hl7_messages.mutate(rng, segments, rng.choice((0, 1, 3)))
    return "\n".join("|".join(line) for line in segments)


BODIES: dict[str, Callable[[Random, int], Any]] = {
    "/api/v1/orders": lambda rng, number: order(number % 50),
    "/api/v1/orders/{id}": lambda rng, number: order(number % 50),
    "/api/v1/orders/batch": lambda rng, number: {
        "orders": [order(number % 50), order(number % 40)],
        "dry_run": bool(number % 2),
    },
    "/api/v1/imports": lambda rng, number: {
        "orders": [{"place": "a", "order": order(number % 50), "lenient": bool(number % 2)}]
    },
    "/api/v1/orders/search": lambda rng, number: {"AccessionNumber": f"A{number % 50}", "limit": 5},
    "/api/v1/rules": lambda rng, number: {"rule": [RULE, PATTERN], "default": {"action": "hold"}, "reason": "r"},
    "/api/v1/rules/check": lambda rng, number: {"rule": [RULE, PATTERN]},
    "/api/v1/nodes": lambda rng, number: {"node": [NODE]},
    "/api/v1/nodes/check": lambda rng, number: {"node": [NODE]},
    "/api/v1/site": lambda rng, number: {"node": [NODE], "rule": [RULE]},
    "/api/v1/site/check": lambda rng, number: {"node": [NODE], "rule": [RULE]},
    "/api/v1/nodes/admit": lambda rng, number: {"ae_title": f"AE{number % 99}", "address": "10.0.0.7"},
    "/api/v1/mappings": lambda rng, number: {"toml": _toml(rng), "reason": "r"},
    "/api/v1/mappings/check": lambda rng, number: {"toml": _toml(rng)},
    "/api/v1/mappings/changes": lambda rng, number: {"toml": _toml(rng), "limit": 5},
    "/api/v1/messages/test": lambda rng, number: {
        "message": _message(rng),
        **({"toml": _toml(rng)} if number % 3 == 0 else {}),
    },
}


def body(rng: Random, path: str, given: Schema, number: int) -> bytes | None:
    """The JSON of a request, or what is none; None for a route that takes no body."""
    if "requestBody" not in given:
        return None if rng.randrange(10) else b'{"a": 1}'
    schema = given["requestBody"]["content"]["application/json"]["schema"]
    made = BODIES[path](rng, number) if path in BODIES and rng.randrange(3) else value(rng, schema)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
        made = _changed(rng, made)
    data = json.dumps(made, ensure_ascii=bool(rng.randrange(2))).encode("utf-8", "surrogatepass")
    return data if rng.randrange(8) else _broken(rng, data)


def _places(thing: Any) -> Iterator[tuple[Any, Any]]:
    items = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
    for key, inner in list(items):
        yield thing, key
        yield from _places(inner)


def _changed(rng: Random, thing: Any) -> Any:
    thing = json.loads(json.dumps(thing))
    places = list(_places(thing))
    if not places:
        return rng.choice(ODD)
    holder, key = rng.choice(places)
    way = rng.randrange(5)
    if way == 0:
        del holder[key]
    elif way == 1 and isinstance(holder, list):
        holder += [holder[key]] * rng.choice((1, 2, 500))
    elif way == 2 and isinstance(holder, dict):
        holder[rng.choice(("extra", str(key).lower(), str(key) + "s", "PatientName", "StudyInstanceUID"))] = holder.pop(
            key
        )
    else:
        holder[key] = rng.choice(ODD)
    return thing


def _broken(rng: Random, data: bytes) -> bytes:
    """No JSON, or JSON that means two things."""
    way = rng.randrange(8)
    size = rng.choice((100, 10_000, 200_000))
    if way == 0:
        return havoc(rng, data)
    if way == 1:
        return data[: rng.randrange(len(data) + 1)]
    if way == 2:
        return rng.choice((b"\xef\xbb\xbf", b" ", b"[", b"\0")) + data + rng.choice((b"", b"}", b"x", b"\n"))
    if way == 3:
        return data.replace(b"{", b'{"a": 1, "a": 2, ', 1)
    if way == 4:
        return data.replace(
            b": ", b": " + rng.choice((b"NaN, ", b"Infinity", b"1e999", b"-", b"9" * 5000, b'"\\ud800"')), 1
        )
    if way == 5:
        return rng.choice((b"[", b'{"a":', b'[{"a":[')) * size
    if way == 6:
        return (
            b'{"orders": ['
            + rng.choice((b"0,", b"{},", b'"",', b"[],", b"null,", b"1.5,", b'{"a":1},')) * size
            + b"0]}"
        )
    return b"{" + b",".join(b'"k%d": 0' % n for n in range(size // 10)) + b"}"


def target(rng: Random, path: str, given: Schema) -> str:
    """A path with its parameters."""
    asked = []
    for parameter in given.get("parameters", ()):
        if parameter["in"] == "path":
            made = (
                str(value(rng, parameter["schema"])) if rng.randrange(2) else rng.choice(("1", "2", "pacs", "ihe", "3"))
            )
            path = path.replace("{" + parameter["name"] + "}", quote(made.replace(CANARY, "x")[:300], safe="") or "0")
        elif parameter["in"] == "query" and rng.randrange(2):
            for _ in range(rng.choice((1, 1, 1, 1, 2))):
                asked.append(
                    f"{parameter['name']}={quote(str(value(rng, parameter['schema'])).replace(CANARY, 'x')[:600])}"
                )
    if rng.randrange(15) == 0:
        asked.append(
            rng.choice(("x=1", "limit=1000000000", "offset=-1", "sort=;drop", "=", "&&&", "a[]=1", "%zz", "limit=%00"))
        )
    return path + ("?" + "&".join(asked) if asked else "")


def headers(rng: Random, data: bytes | None) -> list[tuple[bytes, bytes]]:
    """The headers of a request but for those of its framing."""
    found = [(b"Host", b"broker"), (b"Authorization", b"Bearer " + TOKEN.encode())]
    if rng.randrange(25) == 0:
        found[1] = (
            b"Authorization",
            rng.choice((b"", b"Bearer", b"Bearer x", b"Basic eDp5", b"\xff", b"bearer " + TOKEN.encode())),
        )
    if data is not None:
        kind = b"application/json" if rng.randrange(20) else rng.choice(
            (b"", b"text/plain", b"application/json; charset=utf-16", b"multipart/form-data; boundary=x",
            b"application/x+json", b"a/b;;=")
        )  # fmt: skip
        found.append((b"Content-Type", kind))
        if rng.randrange(60) == 0:
            found.append((b"Content-Type", b"text/plain"))
    if rng.randrange(5) == 0:
        found.append(
            (b"Idempotency-Key", rng.choice((b"k%d" % rng.randrange(20), b"", b"x" * 128, b"x" * 129, b"\xe9", b"a b")))
        )
    if rng.randrange(5) == 0:
        found.append(
            (
                b"If-Match",
                rng.choice(
                    (b"*", b'"1"', b'"2"', b'W/"1"', b"1", b'"x"', b'"1", "2"', b'"' + b"9" * 30 + b'"', b"\xff", b"")
                ),
            )
        )
    return found
