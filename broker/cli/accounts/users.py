"""`broker users`: people who sign in. Asks the running broker, or works on its database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from broker.accounts.roles import UserRole
from broker.cli.asking.anywhere import ask
from broker.cli.common import CommandRefused, Config, exit_on_error, wall_clock
from broker.cli.output import say, say_json, show_table

app = typer.Typer(no_args_is_help=True, help="List, add and change the people who sign in.")

Name = Annotated[str, typer.Argument(help="Name by which the user signs in.")]
Reason = Annotated[str, typer.Option(help="Say why; the audit trail keeps it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(config: Config = None, as_json: Json = False) -> None:
    """List the users, also those who are disabled."""
    with exit_on_error():
        clock = wall_clock(config)
        users = ask(config, "GET", "/users")
    if as_json:
        say_json(users)
        return
    rows = [
        (
            user["name"],
            user["full_name"],
            user["role"],
            user["state"],
            user["kind"],
            "yes" if user["second_factor"] else "",
            clock(user["last_sign_in_at"]) if user["last_sign_in_at"] else "never",
        )
        for user in users
    ]
    show_table(("name", "full name", "role", "state", "kind", "second factor", "signed in"), rows)


@app.command()
def add(
    name: Name,
    role: Annotated[UserRole, typer.Option(help="What the user may do.")],
    full_name: Annotated[str, typer.Option(help="Name as people say it.")] = "",
    language: Annotated[str, typer.Option(help="en or fr; empty: as the browser asks.")] = "",
    config: Config = None,
) -> None:
    """Add a user and print the link by which the user sets a password. Nobody can see it again."""
    body = {"name": name, "role": role.value, "full_name": full_name, "language": language}
    with exit_on_error():
        clock = wall_clock(config)
        made = ask(config, "POST", "/users", body)
    say(f"user {made['user']['name']} is added, role {role.value}", err=True)
    _show_link(made["link"], clock(made["link"]["expires_at"]))


@app.command()
def edit(
    name: Name,
    role: Annotated[UserRole | None, typer.Option(help="Another role; the user must sign in again.")] = None,
    full_name: Annotated[str | None, typer.Option(help="Name as people say it.")] = None,
    language: Annotated[str | None, typer.Option(help="en or fr; empty: as the browser asks.")] = None,
    reason: Reason = "",
    config: Config = None,
) -> None:
    """Change a user. What is left out stays."""
    given = {"role": role, "full_name": full_name, "language": language}
    body = {key: str(value) for key, value in given.items() if value is not None}
    with exit_on_error():
        changed = ask(config, "PATCH", f"/users/{_number(config, name)}", {**body, "reason": reason})
    say(f"user {changed['name']}: role {changed['role']}, {changed['state']}")


@app.command()
def disable(name: Name, reason: Reason = "", config: Config = None) -> None:
    """Let a user sign in no more, and end the sessions of the user within a second."""
    with exit_on_error():
        ask(config, "POST", f"/users/{_number(config, name)}/disable", {"reason": reason})
    say(f"user {name}: disabled")


@app.command()
def enable(name: Name, reason: Reason = "", config: Config = None) -> None:
    """Let a user sign in again."""
    with exit_on_error():
        ask(config, "POST", f"/users/{_number(config, name)}/enable", {"reason": reason})
    say(f"user {name}: enabled")


@app.command()
def link(name: Name, config: Config = None) -> None:
    """Print a link by which a user sets a new password, for example in place of a forgotten one."""
    with exit_on_error():
        clock = wall_clock(config)
        made = ask(config, "POST", f"/users/{_number(config, name)}/link")
    _show_link(made, clock(made["expires_at"]))


@app.command("reset-second-factor")
def reset_second_factor(name: Name, reason: Reason = "", config: Config = None) -> None:
    """Take away the second factor of a user who has lost it, and end the sessions of the user."""
    with exit_on_error():
        ask(config, "POST", f"/users/{_number(config, name)}/reset-second-factor", {"reason": reason})
    say(f"user {name}: no second factor any more, signed out everywhere")


@app.command("sign-out")
def sign_out(name: Name, config: Config = None) -> None:
    """End all sessions of a user."""
    with exit_on_error():
        ask(config, "POST", f"/users/{_number(config, name)}/sign-out")
    say(f"user {name}: signed out everywhere")


@app.command()
def sessions(config: Config = None, as_json: Json = False) -> None:
    """List where people are signed in."""
    with exit_on_error():
        clock = wall_clock(config)
        listed = ask(config, "GET", "/sessions?everybody=true")
    if as_json:
        say_json(listed)
        return
    rows = [
        (str(one["id"]), one["name"], one["address"], clock(one["created_at"]), clock(one["last_used_at"]))
        for one in listed
    ]
    show_table(("id", "user", "from", "signed in", "used"), rows)


def _number(config: Path | None, name: str) -> int:
    """The number of a user. Raises CommandRefused."""
    wanted = name.strip().lower()
    users: list[dict[str, Any]] = ask(config, "GET", "/users")
    for user in users:
        if user["name"] == wanted:
            return int(user["id"])
    raise CommandRefused(f"{name}: there is no user of this name")


def _show_link(link: dict[str, Any], until: str) -> None:
    say(f"hand over this link to set a password; it works once, until {until}:", err=True)
    say(link["url"])
