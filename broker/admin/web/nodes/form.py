"""The form of one node: add it, or edit it. What has no field of its own stands in a text as in site.toml."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, page_router
from broker.admin.web import forms, shell
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.nodes.words import ROLES, path_of, refusal, signature
from broker.admin.web.words import Sentence
from broker.errors import BadContent, ConfigurationError
from broker.settings.toml_text import NotToml, parse_toml
from broker.site import editing
from broker.site.nodes import Mistake, NodeMistakes
from broker.versions.difference import masked
from broker.versions.in_force import Conflict
from broker.versions.toml import dumps

# each has a field of its own
_OF_DESTINATIONS = ("send_windows", "bandwidth", "failover", "commitment")
FIELDS = ("name", "kind", "ae_title", "application", "facility", "host", "port", "url", "path", *_OF_DESTINATIONS)
_NUMBERS = ("port", "bandwidth")
MORE = "more"  # the field for all other keys
_OTHERS = ("name", "kind", "roles", "state")  # keys that the text of the other ones must not have
_SENTENCES: Sequence[tuple[str, Sentence]] = (  # what is wrong with a value, by the words of `site.nodes`
    (r"is required|must not be empty", Sentence("Fill this in.")),
    (r"a dicom node needs one", Sentence("A DICOM node needs an AE title.")),
    (r"an hl7 node needs one", Sentence("An HL7 node needs the application that it calls itself (MSH-3).")),
    (r"a webhook node needs one", Sentence("A webhook needs the address that notices are posted to.")),
    (r"a stow node needs one", Sentence("A DICOMweb node needs the address of its service.")),
    (r"an s3 node needs one", Sentence("An S3 node needs the address of its storage.")),
    (r"a folder node needs one", Sentence("A folder node needs the path of its folder.")),
    (r"destination is the one role of .*", Sentence("A DICOMweb, folder or S3 node has the role destination alone.")),
    (r"no address of http or https", Sentence("Type an address that begins with http:// or https://.")),
    (
        r"notify is the one role of .*",
        Sentence("A webhook or mail node has the role notify alone."),
    ),
    (r"audit is the one role of .*", Sentence("A syslog node has the audit role alone, with host and port.")),
    (r"must be a whole number", Sentence("Type a whole number.")),
    (r"must be at least (?P<n>[\d.]+)", Sentence("At least %(n)s.")),
    (r"must be at most (?P<n>[\d.]+)", Sentence("At most %(n)s.")),
    (r"must have at most (?P<n>\d+) characters", Sentence("At most %(n)s characters.")),
    (r"has characters that are not allowed here", Sentence("Letters, digits, blank, dot, hyphen and underscore only.")),
    (r"unknown key", Sentence("There is no such key.")),
    (
        r"(?P<what>[\w -]+) is a dicom node with host and port",
        Sentence("This role needs a DICOM node with host and port."),
    ),
)


@dataclass(frozen=True, slots=True)
class NodeForm:
    """What stands in the form: values by field, the roles, the other keys as TOML. `name` is empty for a new node.

    `seen`: the node as it was when the form was made. `problem`: why it was not saved.
    """

    name: str
    values: Mapping[str, str]
    chosen: Sequence[str]
    more: str
    seen: str
    errors: FieldErrors
    problem: Sentence | None
    roles: Mapping[str, Sentence]
    reason: str = ""


def router(context: AdminContext) -> APIRouter:
    """The routes of the form."""
    routes = page_router(Right.SITE)

    @routes.get("/nodes/add")
    def empty(request: Request) -> Response:
        return shell.render(request, "node_form", _form("", {"kind": "dicom", "roles": ["modality"]}, ""))

    @routes.post("/nodes/add")
    async def add(request: Request) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(_save, context, request, form, "")

    @routes.get("/nodes/{name}/edit")
    def filled(request: Request, name: str) -> Response:
        try:
            table = editing.table_in_force(context.site, name)
        except editing.NodeUnknown:
            raise _missing() from None
        seen = editing.digest(table, context.secret)
        return shell.render(request, "node_form", _form(name, masked(table), seen))

    @routes.post("/nodes/{name}/edit", dependencies=[NEEDS[Right.SITE]])
    async def edit(request: Request, name: str) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(_save, context, request, form, name)

    return routes


def _missing() -> Problem:
    return Problem(404, "There is no node of this name")


def _form(name: str, table: Mapping[str, Any], seen: str) -> NodeForm:
    """The form with the values of a table."""
    more = {key: value for key, value in table.items() if key not in (*FIELDS, "roles", "state")}
    values = {key: _shown(table[key]) if key in table else "" for key in FIELDS}
    return NodeForm(name, values, list(table.get("roles", ())), dumps(more).strip(), seen, {}, None, ROLES)


def _save(context: AdminContext, request: Request, form: FormFields, name: str) -> Response:
    """Do what the form says; or draw it again with what is wrong beside each field."""
    try:
        table = _table(form, name)
        if name:
            current = editing.table_in_force(context.site, name)
            gone = {key: None for key in current if key not in table and key != "state"}
            seen = form.get("seen")

            def is_seen(stored: editing.Table) -> bool:
                return editing.digest(stored, context.secret) == seen

            editing.edit(context.site, name, gone | _whole(table, current), signature(request, form), seen=is_seen)
        else:
            editing.add(context.site, table, signature(request, form))
    except NodeMistakes as error:
        return shell.render(request, "node_form", _again(form, name, _beside(error.mistakes)), 422)
    except editing.NodeExists:
        errors = {"name": Sentence("There is a node of this name already.")}
        return shell.render(request, "node_form", _again(form, name, errors), 422)
    except editing.NodeUnknown:
        raise _missing() from None
    except Conflict as error:
        return shell.render(request, "node_form", _again(form, name, {}, refusal(error)), 409)
    except (BadContent, ConfigurationError) as error:
        return shell.render(request, "node_form", _again(form, name, {}, refusal(error)), 422)
    saved = table["name"]
    words = Sentence("%(name)s was saved.") if name else Sentence("%(name)s was added.")
    return shell.go(path_of(saved), Sentence(words.text, {"name": saved}))


def _whole(table: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch that puts the tables of a form in the place of those in force: what they lack is removed."""
    patch = dict(table)
    for key, value in table.items():
        below = current.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            patch[key] = {one: None for one in below if one not in value} | _whole(value, below)
    return patch


def _table(form: FormFields, name: str) -> dict[str, Any]:
    """The node that the form describes. Raises NodeMistakes for what is no TOML, or stands in the wrong place."""
    table: dict[str, Any] = {"name": name or form.get("name"), "kind": form.get("kind")}
    for key in FIELDS[2:]:
        text = form.get(key)
        if text:
            table[key] = _value(key, text)
    table["roles"] = [role for role in ROLES if form.get(f"role-{role}")]
    try:
        more = parse_toml(form.get(MORE))
    except NotToml as error:
        raise NodeMistakes("node", [Mistake(MORE, f"no TOML: {error}")]) from None
    twice = [key for key in more if key in (*FIELDS, *_OTHERS)]
    if twice:
        raise NodeMistakes("node", [Mistake(MORE, f"{twice[0]} has a field of its own")])
    return table | more


def _shown(value: object) -> str:
    """A value as it stands in its field; several with commas."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _value(key: str, text: str) -> object:
    """What a field means. What is no number is told as a mistake of the node."""
    if key == "failover":
        return [name.strip() for name in text.split(",")]
    return int(text) if key in _NUMBERS and re.fullmatch(r"[0-9]{1,11}", text) else text


def _again(form: FormFields, name: str, errors: FieldErrors, problem: Sentence | None = None) -> NodeForm:
    """The form as it was sent."""
    values = {key: form.get(key) for key in FIELDS}
    chosen = [role for role in ROLES if form.get(f"role-{role}")]
    return NodeForm(name, values, chosen, form.get(MORE), form.get("seen"), errors, problem, ROLES, form.get("reason"))


def _beside(mistakes: Sequence[Mistake]) -> FieldErrors:
    """The mistakes by field; those of keys without a field stand beside the text, with their keys."""
    errors: dict[str, Sentence] = {}
    for mistake in mistakes:
        field = mistake.key.partition(".")[0]
        if field in FIELDS or field == "roles":
            errors.setdefault(field, told(mistake.words))
        else:
            place = "" if mistake.key == MORE else mistake.key
            words = f"{place}: {mistake.words}" if place else mistake.words
            errors.setdefault(MORE, Sentence("%(words)s", {"words": words[:300]}))
    return errors


def told(words: str) -> Sentence:
    """A mistake of `site.nodes` as a sentence that can be translated; in English where there is none."""
    for pattern, sentence in _SENTENCES:
        found = re.fullmatch(pattern, words)
        if found is not None:
            return Sentence(sentence.text, found.groupdict())
    return Sentence("%(words)s", {"words": words[:300]})
