"""`broker tokens`: API tokens for programs that call REST. Asks the running broker, or works on its database."""

from __future__ import annotations

from typing import Annotated

import typer

from broker.accounts.roles import UserRole
from broker.cli.asking.anywhere import ask
from broker.cli.common import Config, exit_on_error, wall_clock
from broker.cli.output import say, say_json, show_table

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API tokens, by which programs call REST.")


@app.command("list")
def list_(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the tokens, also those that have ended, the latest first. Their secrets are not kept."""
    with exit_on_error():
        clock = wall_clock(config)
        tokens = ask(config, "GET", "/tokens")
    if as_json:
        say_json(tokens)
        return
    rows = [
        (
            str(token["id"]),
            token["name"],
            token["role"],
            token["state"],
            clock(token["expires_at"]),
            clock(token["last_used_at"]) if token["last_used_at"] else "never",
            token["created_by"],
        )
        for token in tokens
    ]
    show_table(("id", "name", "role", "state", "ends", "used", "made by"), rows)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the program that uses it, such as ris-import.")],
    role: Annotated[UserRole, typer.Option(help="What it may do.")],
    days: Annotated[float, typer.Option(help="Days until it ends.")] = 365,
    config: Config = None,
) -> None:
    """Make a token and print it. Nobody can see it again."""
    with exit_on_error():
        clock = wall_clock(config)
        made = ask(config, "POST", "/tokens", {"name": name, "role": role.value, "days": days})
    say(f"token {made['id']} for {name}, role {role.value}, until {clock(made['expires_at'])}:", err=True)
    say(made["token"])


@app.command()
def revoke(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of the token, as `broker tokens list` shows it.")],
    reason: Annotated[str, typer.Option(help="Say why; the audit trail keeps it.")] = "",
    config: Config = None,
) -> None:
    """End a token now; a running broker refuses it within a second."""
    with exit_on_error():
        ask(config, "POST", f"/tokens/{number}/revoke", {"reason": reason})
    say(f"token {number}: revoked")
