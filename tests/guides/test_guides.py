"""Whatever README, guides and codemap show is really there: commands, options, files of settings, links."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from broker import settings
from broker.cli.main import app

ROOT = Path(__file__).parents[2]
TEXTS = [ROOT / "README.md", ROOT / "broker" / "README.md", *sorted((ROOT / "config").glob("*.md"))]


def blocks(language: str) -> list[Any]:
    """The fenced blocks of a language in all texts."""
    return [
        pytest.param(block, id=f"{text.parent.name}/{text.name}-{number}")
        for text in TEXTS
        for number, block in enumerate(re.findall(rf"(?ms)^```{language}\n(.*?)^```", text.read_text("utf-8")), 1)
    ]


def commands() -> list[Any]:
    """Each command line of the broker in a shell block, or in backticks of the text."""
    lines = {line.partition(" #")[0] for block in blocks("sh") for line in block.values[0].splitlines()}
    for text in TEXTS:
        lines.update(re.findall(r"`(broker [^`…]+)`", text.read_text("utf-8")))
    found = {match[1].strip() for line in lines if (match := re.search(r"(?:^|/| )broker ((?:[a-z]|-).*)", line))}
    return sorted(found)


@pytest.mark.parametrize("line", commands())
def test_a_command_and_its_options_exist(line: str, tmp_path: Path) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in command.commands, f"{line}: there is no {name}"
        command = command.commands[name]
    if words:
        command.make_context("broker", [_there(word, tmp_path) for word in words]).close()


def _there(word: str, folder: Path) -> str:
    """An argument as it is, but for files: those are made, since some commands ask for existing ones."""
    if not re.search(r"/|\.(toml|hl7|csv|pem)$|^FILE$|^FOLDER$", word) or "=" in word:
        return word
    file = folder / word.strip("/").replace("/", "-")
    file.touch()
    return str(file)


def test_commands_were_found() -> None:
    assert len(commands()) > 30


@pytest.mark.parametrize("block", blocks("toml"))
def test_a_block_of_settings_is_read_as_it_stands(block: str, tmp_path: Path) -> None:
    document, file = tomllib.loads(block), tmp_path / "file.toml"
    file.write_text(block, encoding="utf-8")
    if document.keys() & {"node", "rule", "default"}:
        result = CliRunner().invoke(app, ["site", "check", str(file)])
        assert result.exit_code == 0, result.output
    else:
        settings.load(file)


def anchors(file: Path) -> set[str]:
    """The anchors that a Markdown page gives its headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", file.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: f"{text.parent.name}/{text.name}")
def test_links_lead_somewhere(text: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = (text.parent / path).resolve() if path else text
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: f"{text.parent.name}/{text.name}")
def test_keys_and_environment_variables_in_the_text_exist(text: Path) -> None:
    """`[section] key` names a key of broker.toml or of a node."""
    reference = (ROOT / "config" / "reference.md").read_text("utf-8")
    unknown = []
    for section, key in re.findall(r"`\[+([a-z0-9.]+)\]+ ([a-z_0-9]+)\b", text.read_text("utf-8")):
        table = re.search(rf"(?ms)^## `\[+{re.escape(section)}\]+`$(.*?)(?=^## |\Z)", reference)
        if table and f"| `{key}` |" not in table[1]:
            unknown.append(f"[{section}] {key}")
    assert unknown == []
