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

from broker.routing.rules.comparing import operators_of
from broker.routing.rules.fields import FIXED, FieldKind
from broker.routing.rules.tag_paths import COMPONENTS, GROUPS
from broker.settings import Settings
from broker.settings.mistakes import table_of
from broker.site.tables.node_table import NodeTable

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


def _operators(kind: FieldKind) -> str:
    """The operators of a kind of field."""
    return ", ".join(f"`{op}`" for op in operators_of(kind))


def _kinds() -> str:
    """All fields that are no element, by their kinds."""
    by_kind: dict[FieldKind, list[str]] = {}
    for name, kind in FIXED.items():
        by_kind.setdefault(kind, []).append(f"`{name}`")
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in by_kind.items())


RULE_TABLES: dict[str, tuple[str, tuple[Row, ...]]] = {
    "[[rule]]": (
        "One routing rule. All rules are tried in order; what those that match want adds up.",
        (
            ("name", "text", "required", "Unique name."),
            ("when", "condition", "required", "The rule matches an object for which this condition is true."),
            (
                "level",
                '`"instance"`, `"series"` or `"study"`',
                '`"instance"`',
                "Tried for each object as it comes, or once for a series or study when that is complete.",
            ),
            (
                "action",
                '`"send"`, `"hold"` or `"discard"`',
                '`"send"`',
                '"hold" without `send` holds the object until a person decides, with `send` its deliveries. "discard" '
                "needs a reason; it counts only where no earlier rule planned anything, and ends the list.",
            ),
            ("send", "list of names", "required to send", "Nodes with role destination."),
            (
                "notify",
                "list of names",
                "empty",
                "Nodes with role notify. Each is told once for a study that the rule acted, also if it holds or "
                "discards. A rule that only notifies needs no `send`, and decides nothing. Its name has 200 characters "
                "at most.",
            ),
            ("then", '`"continue"` or `"stop"`', '`"continue"`', '"stop": no later rule is tried if this one matches.'),
            (
                "priority",
                '`"stat"`, `"high"`, `"normal"` or `"low"`',
                '`"normal"`',
                "Urgency of its deliveries. The most urgent rule counts.",
            ),
            ("enabled", "true or false", "true", "false: the rule is kept and does nothing."),
            ("from", "local time", "empty", 'The rule acts for objects received from then on: `"2026-12-24T18:00"`.'),
            ("until", "local time", "empty", "It acts for objects received before."),
            ("owner", "text", "empty", "Who is to be asked about it."),
            ("reason", "text", "empty", "Why it is there."),
            ("tags", "list of words", "empty", "Words to find it by."),
            ("example", "list of tables", "left out", "Examples, see below. They run at each check and import."),
        ),
    ),
    "Condition: a group": (
        "`{ all = […] }`, `{ any = […] }` or `{ not = {…} }`: at most 8 levels, and 200 tests in one rule.",
        (
            ("all", "list of conditions", "left out", "True if all of them are."),
            ("any", "list of conditions", "left out", "True if one of them is."),
            ("not", "condition", "left out", "True if it is false. A missing value is neither true nor false."),
            (
                "item",
                "keyword of a sequence",
                "left out",
                "With `all` or `any`: true if that is true within one and the same item. Fields begin at the item.",
            ),
        ),
    ),
    "Condition: a test": (
        '`{ field = "tag.Modality", op = "is", value = "MG" }`',
        (
            (
                "field",
                "text",
                "required",
                f"`tag.` with a DICOM keyword, see below, or one of these. {_kinds()}.",
            ),
            (
                "op",
                "text",
                '`"is"`',
                f"Comparison. Text and names: {_operators(FieldKind.TEXT)}. Numbers, dates, times and ages: "
                f"{_operators(FieldKind.NUMBER)}. Windows of time: {_operators(FieldKind.WINDOW)}. "
                "`glob` has * and ?, `regex` is RE2.",
            ),
            (
                "value",
                "text, number, or list of these with `in`, `not_in`, `between`",
                "required",
                "Value to compare with. None with `exists` and `missing`.",
            ),
            (
                "values",
                '`"any"`, `"all"` or `"count"`',
                '`"any"`',
                "Of a field with several values: one of them, each of them, or how many there are.",
            ),
            ("exact", "true or false", "false", "true: case and accents count."),
            ("missing", "true or false", "left out", "What a missing value counts as. Without it that is unknown."),
        ),
    ),
    "Fields of elements": (
        "What stands behind `tag.`. Values are read as their VR says: numbers, dates (`20260312` or `2026-03-12`), "
        "times, ages (`018Y`), names by component groups.",
        (
            ("Modality", "keyword", "", "All values of an element."),
            ("ImageType[3]", "keyword with a number", "", "Its third value. Empty ones are counted."),
            (
                "PatientName.family",
                "part of a name",
                "",
                f"{', '.join(f'`{part}`' for part in (*COMPONENTS, *GROUPS))}.",
            ),
            ("ProcedureCodeSequence.CodeValue", "path", "", "In any item of a sequence."),
            ("RequestAttributesSequence[1].AccessionNumber", "path", "", "In its first item."),
            ("RequestAttributesSequence", "sequence", "", "How many items it has."),
            ('(0019,xx0C,"SIEMENS MR HEADER")', "private element", "", "By group, element and creator (PS3.5 7.8.1)."),
        ),
    ),
    "[[rule.example]]": (
        "An object, and where it must go. A rule set whose examples fail is refused.",
        (
            ("facts", "table", "left out", "Values by field, one or a list of them."),
            ("sends", "list of names", "empty", "Destinations that the whole rule set must give."),
            ("action", '`"send"`, `"hold"` or `"discard"`', "any", "What the whole rule set must do."),
        ),
    ),
    "[default]": (
        "The action for an object for which no rule decided anything.",
        (
            ("action", '`"hold"`, `"send"` or `"discard"`', '`"hold"`', '"hold": keep it until a person decides.'),
            ("send", "list of names", "empty", 'Destinations, only with `action = "send"`.'),
            ("reason", "text", "empty", "Why."),
        ),
    ),
    "[completion.study]": (
        "When a study is complete, for rules of level study. `[completion.series]` has the same keys, with 60 and 3600 "
        "seconds, and `expected` without order.",
        (
            ("quiet", "seconds", "300", "Complete when nothing has come for so long."),
            (
                "expected",
                "list of words",
                "empty",
                "`mpps`: complete once all is here that its performed procedure steps list, and not before. `order`: "
                "not complete by its quiet time while a step of its order is open.",
            ),
            (
                "association_end",
                "true or false",
                "false",
                "true: complete when the association of its last object ends.",
            ),
            ("most", "seconds", "21600", "After so long it waits no more. It counts from the first object."),
            (
                "at_most",
                '`"judge"` or `"hold"`',
                '`"judge"`',
                "What is done then: try the rules all the same, or hold.",
            ),
        ),
    ),
    "[[completion.required]]": (
        "What must be there before a study is complete. Patterns have * and ?, case and accents do not count.",
        (
            ("modality", "pattern", "left out", "Only of studies that have an object of this modality."),
            ("study", "pattern", "left out", "Only of studies whose Study Description fits."),
            ("series", "list of patterns", "empty", "Each must fit the Series Description of an object."),
            ("modalities", "list of modalities", "empty", "Each must be there."),
        ),
    ),
    "[[completion.late]]": (
        "What destinations get of images that come after their series or study was judged.",
        (
            ("to", "list of names", "required", "Nodes with role destination."),
            (
                "send",
                '`"all"`, `"updates"`, `"new"` or `"never"`',
                '`"updates"`',
                "All images again; new images and other versions of known ones; new images only; nothing.",
            ),
            ("until", "seconds", "left out", "Late images are sent so long after the first judgement, later ones not."),
        ),
    ),
    "[calendar]": (
        "Days that `time.holiday` and windows of time know.",
        (("holidays", "list of days", "empty", "Dates (`2026-04-03`) and days of each year (`12-25`)."),),
    ),
}


def reference() -> str:
    """The whole text of `config/reference.md`."""
    parts = [HEAD, *_settings(), SITE_HEAD]
    parts += _tables(NodeTable, "node", variables=False, many=True)
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
