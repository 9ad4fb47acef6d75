"""Words mistakes in `broker.toml` and the environment: one line that names the place and the key."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from broker.errors import ConfigurationError


def check_environment(settings: type[BaseModel]) -> None:
    """Refuse a misspelt variable: BROKER_DICOM__PROT is an error. Raises ConfigurationError."""
    for name in os.environ:
        if not name.startswith("BROKER_") or "__" not in name:
            continue
        path = name[len("BROKER_") :].lower().split("__")
        section: type[BaseModel] | None = settings
        for key in path:
            if section is None or key not in section.model_fields:
                raise ConfigurationError(f"environment variable {name}: unknown key {'.'.join(path)}")
            section = table_of(section.model_fields[key])


def table_of(key: FieldInfo) -> type[BaseModel] | None:
    """The table that a key holds, also an optional one; None for a plain value or a list."""
    kinds = get_args(key.annotation) if isinstance(key.annotation, UnionType) else (key.annotation,)
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def explain_environment(settings: type[BaseModel]) -> str:
    """Name the variable whose text should be JSON, since its key holds a table or a list, and is not."""
    keys = set(_json_keys(settings))
    for name in sorted(os.environ):
        key = name.removeprefix("BROKER_").lower().replace("__", ".")
        if not name.startswith("BROKER_") or key not in keys:
            continue
        try:
            json.loads(os.environ[name])
        except ValueError:
            return f"environment variable {name}: {key}: not valid JSON"
    return "environment: a variable that holds JSON cannot be read"


def _json_keys(settings: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Keys that hold a table or a list: a variable gives them as JSON."""
    for name, key in settings.model_fields.items():
        table = table_of(key)
        if table is not None or get_origin(key.annotation) is tuple:
            yield prefix + name
        if table is not None:
            yield from _json_keys(table, f"{prefix}{name}.")


def explain(error: ValidationError, config: Path | None) -> str:
    """Say the first mistake in one line: file or variable, key, what is wrong."""
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    variable = "BROKER_" + key.replace(".", "__").upper()
    place = f"environment variable {variable}: " if variable in os.environ else f"{config}: " if config else ""
    return f"{place}{key}: {wording(first)}"


# by pydantic's type of error; `{…}` is filled from its context
_WORDS = {
    "extra_forbidden": "unknown key",
    "missing": "is required",
    "literal_error": "must be {expected}",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "string_type": "must be text",
    "path_type": "must be a path",
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_pattern_mismatch": "has characters that are not allowed here",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} values",
    "too_long": "must have at most {max_length} values",
}


def wording(mistake: ErrorDetails) -> str:
    """Say in words what is wrong with a value. Values themselves are never quoted: they may be secrets."""
    words = _WORDS.get(mistake["type"])
    context = mistake.get("ctx", {})
    if words is None:
        return mistake["msg"].removeprefix("Value error, ")
    return "must not be empty" if context.get("min_length") == 1 else words.format(**context)
