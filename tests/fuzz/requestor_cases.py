"""Our user side against an acceptor that answers anything. Whatever comes, a caller gets an answer or a BrokerError."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal, Remote, open_association
from broker.errors import BrokerError
from fuzz.acceptor_cases import PROMPT, SERVICES, SETTLED
from fuzz.conversations import COMMITMENT, CT, MPPS, STUDY_GET, WORKLIST, Case
from fuzz.replies import PROPOSED
from fuzz.virtual import Connection, VirtualLoop

REMOTE = Remote("127.0.0.1", 104, "FUZZ", "BROKER", connect_timeout=5, response_timeout=5, operations=2)
IDENTIFIER = b"\x08\x00\x52\x00\x06\x00\x00\x00STUDY "


async def _echo(association: Association) -> None:
    await association.echo()
    await association.echo()


async def _pieces() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"\x09\x00\x10\x00LO\x04\x00FUZZ" * 2000


async def _store(association: Association) -> None:
    context = association.context(CT)
    if context is not None:
        await association.store(context, "2.999.14.1", b"\x08\x00\x05\x00CS\x00\x00")
        await association.store(context, "2.999.14.2", _pieces())


async def _find(association: Association) -> None:
    async for _ in association.find(WORKLIST, IDENTIFIER):
        pass
    async with aclosing(association.find(WORKLIST, IDENTIFIER)) as found:  # type: ignore[type-var]
        async for _ in found:
            break  # which cancels it


async def _get(association: Association) -> None:
    async for _ in association.get(STUDY_GET, IDENTIFIER):
        pass


async def _create(association: Association) -> None:
    await association.n_create(MPPS, "2.999.14.3", b"\x08\x00\x05\x00CS\x00\x00")
    await association.n_set(MPPS, "2.999.14.3", b"\x08\x00\x05\x00CS\x00\x00")
    await association.n_delete(MPPS, "2.999.14.3")


async def _action(association: Association) -> None:
    both = (association.n_action(COMMITMENT, "1.2.840.10008.1.20.1.1", 1) for _ in range(2))
    results = await asyncio.gather(*both, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    await association.n_get(COMMITMENT, "1.2.840.10008.1.20.1.1", (0x00100010,))


ACTS: dict[str, Callable[[Association], Awaitable[None]]] = {
    "echo": _echo, "store": _store, "find": _find, "get": _get, "create": _create, "action": _action,
}  # fmt: skip


class Acceptor:
    """The other side: says the next turn whenever it has heard something more and all is quiet."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.connection: Connection | None = None
        self._turns = iter(case.says)
        self._heard = 0
        self._over = False
        self.ended = float("inf")  # virtual time at which the other side closed or reset

    def dial(self, protocol: Any) -> Connection:
        """Answer the call."""
        self.connection = Connection(protocol, reads=self.case.reads)
        self.connection.heard = self._listen
        return self.connection

    def _listen(self) -> None:
        connection = self.connection
        assert connection is not None
        if len(connection.said) == self._heard and not connection.finished:
            return
        self._heard = len(connection.said)
        turn = next(self._turns, None)
        if turn is not None:
            for piece in turn:
                if not connection.gone:
                    connection.arrive(piece)
        elif not self._over and self.case.end != "silence":
            self._over, self.ended = True, asyncio.get_running_loop().time()
            connection.end(reset=self.case.end == "reset")


async def check(loop: VirtualLoop, case: Case) -> None:
    """Run a case. Raises AssertionError, or what a defect raises."""
    acceptor = Acceptor(case)
    loop.dial = acceptor.dial
    proposals = [Proposal(uid, (syntax,), scp=uid == CT) for uid, syntax in PROPOSED]
    association: Association | None = None
    try:
        association = await open_association(REMOTE, proposals, SERVICES)
        await ACTS[case.asks](association)
    except BrokerError:
        pass  # what a caller must reckon with
    finally:
        if case.end == "reset" or not case.reads:
            assert loop.time() - acceptor.ended < PROMPT, "the end of the connection was not noticed at once"
        if association is not None:
            if case.reads == 1:
                association.abort()
            else:
                await association.release()
    connection = acceptor.connection
    assert connection is not None
    waited = 0
    while not connection.gone or len(asyncio.all_tasks()) > 1:
        waited += 1
        assert waited < 60_000, "an association that does not end"
        await asyncio.sleep(SETTLED * waited)
