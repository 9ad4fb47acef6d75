"""Writes `config/reference.md`: every key of `broker.toml` and `site.toml`, from the models that read them.

Rules have a parser but no model: their keys stand in `RULE_TABLES`, and a test compares these with the parser.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from broker.routing.rules import NUMBER_OPERATORS, TEXT_OPERATORS
from broker.settings import Settings
from broker.settings.mistakes import table_of
from broker.site import nodes

Row = tuple[str, str, str, str]  # key, type, default, meaning

HEAD = """# Reference of the keys

Generated from the settings models by `python tests/support/guides/write.py`. A test compares it with them.

- `broker.toml` fixes what a deployment fixes. `broker serve --config broker.toml` reads it once, at the start.
- `site.toml` describes a site: nodes and rules. Its content lives in the database, with versions.
- An unknown key is an error. A mistake is one line that names the file and the key; the exit code is 2.
- Relative paths in `broker.toml` count from its folder. Those of nodes count from the folder of the site file.

# broker.toml

Each key can be given by an environment variable too. The environment wins over the file, the file over the default.
A variable for a table or a list holds JSON: `BROKER_HL7__PROCESSING_IDS='["P", "T"]'`.
"""

SITE_HEAD = """# site.toml

Nodes are the systems around the broker. Rules decide which object goes to which destination.
"""


def _operators() -> str:
    """The operators of text fields and of number fields."""
    text, number = (", ".join(f"`{op}`" for op in sorted(ops)) for ops in (TEXT_OPERATORS, NUMBER_OPERATORS))
    return f"text: {text}; number: {number}"


RULE_TABLES: dict[str, tuple[str, tuple[Row, ...]]] = {
    "[[rule]]": (
        "One routing rule. All rules are tried in order; the destinations of all that match add up.",
        (
            ("name", "text", "required", "Unique name."),
            ("when", "condition", "required", "The rule matches an object for which this condition is true."),
            ("send", "list of names", "required", "Nodes with role destination."),
            ("then", '`"continue"` or `"stop"`', '`"continue"`', '"stop": no later rule is tried if this one matches.'),
            ("example", "list of tables", "left out", "Examples, see below. They run at each check and import."),
        ),
    ),
    "Condition: a group": (
        "`{ all = […] }`, `{ any = […] }` or `{ not = {…} }`: at most 8 levels, and 200 tests in one rule.",
        (
            ("all", "list of conditions", "left out", "True if all of them are."),
            ("any", "list of conditions", "left out", "True if one of them is."),
            ("not", "condition", "left out", "True if it is false. A missing value is neither true nor false."),
        ),
    ),
    "Condition: a test": (
        '`{ field = "tag.Modality", op = "is", value = "MG" }`',
        (
            (
                "field",
                "text",
                "required",
                "`assoc.calling_ae`, `assoc.called_ae`, `assoc.address`; `tag.` with a DICOM keyword; `time.hour` (0 to"
                " 23) and `time.weekday` (1 Monday to 7 Sunday) of the site.",
            ),
            (
                "op",
                "text",
                '`"is"`',
                f"Comparison, for {_operators()}. Text is compared without case. `glob` has * and ?, `regex` is RE2.",
            ),
            (
                "value",
                "text, number, or list of these with `in`",
                "required",
                "Value to compare with. None with `exists`.",
            ),
        ),
    ),
    "[[rule.example]]": (
        "An object, and where it must go. A rule set whose examples fail is refused.",
        (
            ("facts", "table", "left out", "Values by field, one or a list of them."),
            ("sends", "list of names", "empty", "Destinations that the whole rule set must give."),
        ),
    ),
    "[default]": (
        "The action for an object that no rule matches.",
        (
            ("action", '`"hold"`, `"send"` or `"discard"`', '`"hold"`', '"hold": keep it until a person decides.'),
            ("send", "list of names", "empty", 'Destinations, only with `action = "send"`.'),
        ),
    ),
}


def reference() -> str:
    """The whole text of `config/reference.md`."""
    parts = [HEAD, *_settings(), SITE_HEAD]
    parts += _tables(nodes.NodeTable, "node", variables=False, many=True)
    for title, (text, rows) in RULE_TABLES.items():
        parts.append(_table(f"`{title}`" if title.startswith("[") else title, text, rows))
    return "\n".join(parts)


def _settings() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        section = table_of(field)
        assert section is not None, f"[{name}] is no table"
        yield from _tables(section, name, variables=True)


def _tables(model: type[BaseModel], path: str, *, variables: bool, many: bool = False) -> Iterator[str]:
    """A table of the file and the tables inside, each below its own heading."""
    schema = model.model_json_schema()
    heading = f"`[[{path}]]`" if many else f"`[{path}]`"
    required = schema.get("required", ())
    rows = []
    for name, key in schema["properties"].items():
        default = "required" if name in required else _default(key)
        if path == "node" and name == "tls":
            key = {"format": "true, or table"}
        row = (name, _kind(key), default, model.model_fields[name].description or "")
        assert row[3], f"{path}.{name}: the model has no description"
        if variables:
            row = (*row, f"`BROKER_{path.replace('.', '__').upper()}__{name.upper()}`")
        rows.append(row)
    text = re.sub(r"^`\[.*?\]`: ", "", " ".join((inspect.getdoc(model) or "").split()))
    yield _table(heading, text[:1].upper() + text[1:], rows)
    for name, field in model.model_fields.items():
        inner, inner_path = table_of(field), f"{path}.{name}"
        if inner is not None:
            yield from _tables(inner, inner_path, variables=variables)
        elif path == "hl7" and name == "listener":
            text = "A further interface. It has all keys of `[hl7]` but `application`, `facility` and `listener`,"
            text += " with the same defaults, and `[hl7.listener.tls]` those of `[hl7.tls]`."
            yield f"## `[[hl7.listener]]`\n\n{text}\n"


def _table(heading: str, text: str, rows: Sequence[tuple[str, ...]]) -> str:
    titles = ("key", "type", "default", "meaning", "environment variable")[: len(rows[0])]
    lines = [f"## {heading}", "", text, "", f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for key, *cells in rows:
        lines.append(f"| `{key}` | {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _default(key: Mapping[str, Any]) -> str:
    value = key.get("default")
    if value in ([], {}, "") or key.get("type") == "object":
        return "empty"
    if value is None:
        return "left out"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _kind(key: Mapping[str, Any]) -> str:
    """Type and range in words, from a JSON schema."""
    if "anyOf" in key:
        return _kind(next(kind for kind in key["anyOf"] if kind.get("type") != "null"))
    if "$ref" in key:
        return "table"
    if "enum" in key:
        return ", ".join(f"`{json.dumps(value)}`" for value in key["enum"])
    if "const" in key:
        return f"`{json.dumps(key['const'])}`"
    kind = key.get("type")
    if kind == "array":
        most = f", at most {key['maxItems']}" if "maxItems" in key else ""
        least = ", not empty" if key.get("minItems") else ""
        inner = _kind(key.get("items", {}))
        return f"list of {'tables' if inner == 'table' else inner}{most}{least}"
    if kind == "object":
        return f"table of {_kind(key['additionalProperties'])}"
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _range(key)
    if kind == "boolean":
        return "true or false"
    return _text(key)


def _range(key: Mapping[str, Any]) -> str:
    low, high = key.get("minimum"), key.get("maximum")
    if "exclusiveMinimum" in key:
        return f" above {key['exclusiveMinimum']:g}" + (f", up to {high:,.0f}" if high is not None else "")
    if low is not None and high is not None:
        return f", {low:g} to {high:,.0f}"
    return f", at least {low:g}" if low is not None else ""


def _text(key: Mapping[str, Any]) -> str:
    if "format" in key:
        return str(key["format"])
    low, high = key.get("minLength", 0), key.get("maxLength")
    return (
        "text"
        if high is None
        else f"text of {low} to {high} characters"
        if low
        else f"text of at most {high} characters"
    )
