"""Rooms stay small, no import goes in a circle, and every module is in use."""

from __future__ import annotations

from collections import Counter, defaultdict

from support.tree import BROKER, TESTS, dotted, imports, modules, name, text

MAX_MODULES, MAX_LINES = 16, 2500  # of one folder, packages below it aside
# what starts a process, or is loaded by name: the command line, a worker, Alembic
ENTRIES = ("broker.__main__", "broker.service.workers.worker", "broker.store.db.migrations.env")
MOST_FAR = 36  # may only shrink

KNOWN = {dotted(path): path for path in modules()}


def test_rooms_stay_small() -> None:
    files, lines = Counter[str](), Counter[str]()
    for path in modules():
        lines[name(path.parent)] += len(text(path).splitlines())
        files[name(path.parent)] += path.name != "__init__.py"
    full = [room for room in files if room != name(BROKER) and (files[room] > MAX_MODULES or lines[room] > MAX_LINES)]
    assert full == []


def _graph(*, inside_functions: bool) -> dict[str, set[str]]:
    """Imports of each module; a package is not counted as an import of what stands in it."""
    graph = {}
    for module, path in KNOWN.items():
        found = imports(path, set(KNOWN), inside_functions=inside_functions)
        graph[module] = {other for other in found if other != module and not module.startswith(f"{other}.")}
    return graph


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += graph[module]
    return seen


def test_no_import_goes_in_a_circle() -> None:
    """At module level, and for the type checker alone. A circle is told by its members."""
    graph = _graph(inside_functions=False)
    reach = {module: _reachable(graph, module) for module in graph}
    circles = defaultdict(set)
    for module in graph:
        if module in reach[module]:
            circles[frozenset(m for m in reach[module] if module in reach[m])].add(module)
    assert [sorted(circle) for circle in circles] == []


def test_every_module_is_reached_from_a_command() -> None:
    graph = _graph(inside_functions=True)
    reached = set(ENTRIES).union(*(_reachable(graph, entry) for entry in ENTRIES))
    dead = [name(path) for module, path in KNOWN.items() if module not in reached and path.name != "__init__.py"]
    assert dead == []


def test_tests_come_near_every_module() -> None:
    """A test imports the module itself, or one that imports it. The others are reached by the started broker alone."""
    graph = _graph(inside_functions=True)
    direct = {m for path in TESTS.rglob("*.py") for m in imports(path, set(KNOWN), inside_functions=True)}
    near = direct.union(*(graph[module] for module in direct))
    far = [name(path) for module, path in KNOWN.items() if module not in near and path.name != "__init__.py"]
    assert len(far) <= MOST_FAR, far
