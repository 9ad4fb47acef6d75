"""Turns a rule into fields of a form and back. What a person did not change stays as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.admin.web.forms import FormFields

TEXTS: Mapping[str, str] = {  # keys that are one text, with their defaults
    "name": "",
    "level": "instance",
    "action": "send",
    "priority": "normal",
    "then": "continue",
    "from": "",
    "until": "",
    "owner": "",
    "reason": "",
}


def filled(table: Mapping[str, Any]) -> dict[str, str]:
    """The texts of the form of a rule."""
    return {key: str(table.get(key, default)) for key, default in TEXTS.items()} | {
        "tags": ", ".join(table.get("tags", []))
    }


def rule_in(form: FormFields, before: Mapping[str, Any], when: Mapping[str, Any]) -> dict[str, Any]:
    """The rule that a form says; `before`: as it was, `when`: its condition. Keys that the form has not stay."""
    made = {**before, "when": when}
    for key, default in TEXTS.items():
        _put(made, key, form.get(key) or default, _line(before.get(key, default)), default)
    _put(made, "enabled", bool(form.get("enabled")), before.get("enabled", True), default=True)
    for key in ("send", "notify"):
        chosen, kept = form.all(key), before.get(key, [])
        if set(chosen) != set(kept):
            made[key] = [*(node for node in kept if node in chosen), *(node for node in chosen if node not in kept)]
            if not made[key]:
                del made[key]
    tags = [tag for text in form.get("tags").split(",") if (tag := text.strip())]
    if ", ".join(tags) != ", ".join(before.get("tags", [])):
        _put(made, "tags", tags, None, [])
    return made


def _put(made: dict[str, Any], key: str, value: Any, before: Any, default: Any) -> None:
    """Change a key if its value is another one; a default is left out."""
    if value == before:
        return
    if value == default:
        made.pop(key, None)
    else:
        made[key] = value


def _line(value: Any) -> Any:
    """A text as a field of one line sends it back."""
    return value.replace("\r", "").replace("\n", "").strip() if isinstance(value, str) else value
