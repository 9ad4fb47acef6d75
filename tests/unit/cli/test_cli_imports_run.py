"""Orders of files go to the running broker in bounded chunks, and every one of them is accounted for."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from broker.admin.api.batches import AWAY
from broker.cli.imports import run
from broker.cli.imports.items import ImportItem
from broker.cli.imports.run import Account, gather, place
from broker.cli.imports.view import summary
from broker.errors import PeerFault, StoreUnavailable
from broker.settings import Settings


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Orders in each request to a broker that takes them all."""
    sizes: list[int] = []

    def call(settings: Settings, method: str, path: str, body: dict[str, Any]) -> Any:
        sizes.append(len(body["orders"]))
        results = [{"outcome": "created", "warnings": []} for _ in body["orders"]]
        return SimpleNamespace(good=True, body={"results": results, "noted": True}, problem="")

    monkeypatch.setattr(run.control, "call", call)
    return sizes


@pytest.mark.parametrize(("count", "sizes"), [(run.CHUNK, [run.CHUNK]), (run.CHUNK + 1, [run.CHUNK, 1])])
def test_a_chunk_holds_so_many_orders(asked: list[int], count: int, sizes: list[int]) -> None:
    account = Account(total=count)
    deque(place(Settings(), [ImportItem("a.csv", {}) for _ in range(count)], account, dry=True), 0)
    assert (asked, account.counts, account.good) == (sizes, {"created": count}, True)


def test_an_order_over_the_limit_is_refused_and_the_others_go_on(asked: list[int]) -> None:
    empty = len('{"a": ""}')
    exactly = ImportItem("exactly", {"a": "x" * (run.CHUNK_BYTES - empty)})
    beyond = ImportItem("beyond", {"a": "x" * (run.CHUNK_BYTES - empty + 1)})
    account = Account()
    deque(place(Settings(), [exactly, beyond, ImportItem("small", {})], account, dry=True), 0)
    assert asked == [1, 1]
    assert [where for where, _, _ in account.failures] == ["beyond"]


def test_a_broker_that_refuses_ends_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.control, "call", lambda *_: SimpleNamespace(good=False, body=None, problem="busy"))
    with pytest.raises(PeerFault, match="busy"):
        deque(place(Settings(), [ImportItem("a", {})], Account(), dry=False), 0)


@pytest.mark.parametrize("noted", [True, False])
def test_a_database_that_goes_away_in_the_middle_hides_no_order(
    monkeypatch: pytest.MonkeyPatch, *, noted: bool
) -> None:
    """What is in place is said, and the rest by its place; the next chunk is not sent."""
    created = {"outcome": "created", "warnings": []}
    results = [created, created if not noted else AWAY, *[created] * (run.CHUNK - 2)]
    answer = SimpleNamespace(good=True, body={"results": results, "noted": noted}, problem="")
    asked: list[Any] = []
    monkeypatch.setattr(run.control, "call", lambda *given: asked.append(given) or answer)
    account = Account()
    with pytest.raises(StoreUnavailable, match="again"):
        deque(place(Settings(), [ImportItem(f"row {n}", {}) for n in range(run.CHUNK + 9)], account, dry=False), 0)
    assert len(asked) == 1
    assert account.counts == ({"created": run.CHUNK - 1, "unavailable": 1} if noted else {"created": run.CHUNK})
    assert [where for where, _, _ in account.failures] == (["row 1"] if noted else [])
    assert "unavailable" not in summary(account, dry=False)


def test_a_file_that_is_not_there_is_accounted_for(tmp_path: Path) -> None:
    account = Account()
    assert gather([tmp_path / "gone.csv"], account, "utf-8", skip_unknown=False) == []
    assert account.failures[0][0] == "gone.csv"
    assert not account.good
