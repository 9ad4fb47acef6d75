"""One name for one thing, and none for nothing; docstrings say what they are about."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator

from support.tree import BROKER, modules, name, parsed, text

MOST_SKIPS = 59
MOST_IGNORES = 7  # may only shrink

# called by a library, never by name: asyncio, logging, pydantic. Then what only tests use so far: the rest of DIMSE-N
# and of the DIMSE statuses, and two looks at the whole database
CALLED_FROM_OUTSIDE = {
    "connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing", "connection_made", "emit",
    "send_400_response", "settings_customise_sources", "n_action", "n_delete", "n_get",
    "MOVE_DESTINATION_UNKNOWN", "SUB_OPERATIONS_FAILED", "SUB_OPERATIONS_WARNING", "answers_of", "order_rows",
    "get_next_fire_time",  # APScheduler
}  # fmt: skip


def test_no_public_class_name_stands_for_two_things() -> None:
    places = defaultdict(list)
    for path in modules():
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name(path))
    twice = {word: where for word, where in sorted(places.items()) if len(where) > 1}
    assert twice == {}


def test_docstrings_of_modules_do_not_begin_with_a_question() -> None:
    riddles = [
        name(path)
        for path in modules()
        if re.match(r"(What|Who|Whom|Whose|How|Whether|Where|Which|When|Why)\b", ast.get_docstring(parsed(path)) or "")
    ]
    assert riddles == []


def test_every_package_names_a_file_to_open_first() -> None:
    silent = []
    for path in modules():
        if path.name != "__init__.py" or "migrations" in path.parts or path.parent == BROKER:
            continue
        words = re.findall(r"`([\w/]+?)(?:\.py)?`", ast.get_docstring(parsed(path)) or "")
        if not any((path.parent / f"{word}.py").exists() or (BROKER / f"{word}.py").exists() for word in words):
            silent.append(name(path.parent))
    assert silent == []


def test_files_that_packages_name_exist() -> None:
    missing = [
        f"{name(path)}: {file}"
        for path in modules()
        if path.name == "__init__.py"
        for file in re.findall(r"`([\w/]+\.py)`", ast.get_docstring(parsed(path)) or "")
        if not (path.parent / file).exists() and not (BROKER / file).exists() and not (BROKER.parent / file).exists()
    ]
    assert missing == []


def test_layout_is_the_formatters() -> None:
    """Only tables of data keep a layout of their own."""
    skips = Counter({name(path): text(path).count("# fmt: skip") for path in modules()})
    assert skips.total() <= MOST_SKIPS, skips.most_common(20)


def test_the_type_checker_is_not_silenced_more_often() -> None:
    ignores = Counter({name(path): text(path).count("type: ignore") for path in modules()})
    assert ignores.total() <= MOST_IGNORES, ignores.most_common(20)


def test_public_definitions_are_used() -> None:
    """A public function, class, constant or method whose name occurs nowhere else in the product is dead.

    Decorated ones are called by their decorator's library (commands, routes, validators, fixtures).
    """
    places = defaultdict(list)
    for path in modules():
        for word in _defined(parsed(path)):
            places[word].append(name(path))
    uses = _words()
    dead = {
        word: where
        for word, where in sorted(places.items())
        if uses[word] <= len(where) and word not in CALLED_FROM_OUTSIDE
    }
    assert dead == {}


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name) and not t.id.startswith("_"))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield from [node.target.id] if not node.target.id.startswith("_") else []
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
            yield from (member.name for member in node.body if _public_function(member))
        elif _public_function(node):
            yield node.name


def _public_function(node: ast.stmt) -> bool:
    """A function that only its name calls: properties and class methods too, other decorated ones not."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
        return False
    own = {"property", "cached_property", "staticmethod", "classmethod", "cache", "contextmanager"}
    return all(isinstance(decorator, ast.Name) and decorator.id in own for decorator in node.decorator_list)


def _words() -> Counter[str]:
    """Every word of the product's code, strings and templates; comments and docstrings of three quotes aside."""
    words = Counter[str]()
    for path in BROKER.rglob("*.py"):
        for token in tokenize.generate_tokens(io.StringIO(text(path)).readline):
            if token.type == tokenize.NAME:
                words[token.string] += 1
            elif token.type == tokenize.STRING and not token.string.startswith('"""'):
                words.update(re.findall(r"\w+", token.string))
    for path in BROKER.rglob("*.html"):
        words.update(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    return words
