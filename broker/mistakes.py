"""Mistakes in `broker.toml` and the environment, each told in one line that names the place and the key."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from broker.errors import ConfigurationError

# keys that hold a list or a table, which a variable gives as JSON
_JSON = {
    "dicom.tls", "dicom.private_sop_classes", "hl7.tls", "hl7.listener", "hl7.processing_ids", "hl7.receiving",
    "hl7.optional_fields",
}  # fmt: skip


def check_environment(settings: type[BaseModel]) -> None:
    """A misspelt variable must not be ignored: BROKER_DICOM__PROT is an error. Raises ConfigurationError."""
    for name in os.environ:
        if not name.startswith("BROKER_") or "__" not in name:
            continue
        path = name[len("BROKER_") :].lower().split("__")
        section: type[BaseModel] | None = settings
        for key in path:
            if section is None or key not in section.model_fields:
                raise ConfigurationError(f"environment variable {name}: unknown key {'.'.join(path)}")
            section = _table(section.model_fields[key].annotation)


def _table(annotation: Any) -> type[BaseModel] | None:
    """The section that a key holds, also where it may be left out; None for a plain value."""
    for kind in get_args(annotation) if isinstance(annotation, UnionType) else (annotation,):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def explain_environment(settings: type[BaseModel]) -> str:
    """Which variable holds text where a section or a list is due, as JSON."""
    for name in sorted(os.environ):
        key = name.removeprefix("BROKER_").lower().replace("__", ".")
        if not name.startswith("BROKER_") or key.partition(".")[0] not in settings.model_fields:
            continue
        if key in settings.model_fields or key in _JSON:
            try:
                json.loads(os.environ[name])
            except ValueError:
                return f"environment variable {name}: {key}: not valid JSON"
    return "environment: a variable that holds JSON cannot be read"


def explain(error: ValidationError, config: Path | None) -> str:
    """The first mistake in one line: file or variable, key, what is wrong."""
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    variable = "BROKER_" + key.replace(".", "__").upper()
    place = f"environment variable {variable}: " if variable in os.environ else f"{config}: " if config else ""
    text = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
    return f"{place}{key}: {text}"
