"""Our user side against any provider: one blocking call per DIMSE service, each on an association of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pydicom.dataset import Dataset

from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal, Remote, associate
from broker.dicom.dimse import status as st
from broker.dicom.dimse.invocation import Response
from broker.dicom.dimse.request import Service
from support.dicom.archive import FIND, GET, MOVE, Archive, from_bytes, to_bytes
from support.dicom.objects import Encoded

Result = TypeVar("Result")
NATIVE = (uids.EXPLICIT_LE, uids.IMPLICIT_LE)


class Asking:
    """A peer on this machine, asked by our user side; `before` is called before each association."""

    def __init__(
        self, port: int, called: str, calling: str = "BROKER", before: Callable[[], None] = lambda: None
    ) -> None:
        self.before = before
        self.remote = Remote("127.0.0.1", port, called, calling, response_timeout=20)

    def on(
        self, proposals: Sequence[Proposal], work: Callable[[Association], Awaitable[Result]],
        services: Sequence[Service] = (),
    ) -> Result:  # fmt: skip
        """The result of `work` on one association."""

        async def bounded() -> Result:
            async with asyncio.timeout(40), associate(self.remote, proposals, services) as association:
                return await work(association)

        self.before()
        return asyncio.run(bounded())

    def echo(self) -> int:
        """C-ECHO; the status."""
        return self.on([Proposal(uids.VERIFICATION, NATIVE)], lambda association: association.echo())

    def store(self, *objects: Encoded) -> list[int]:
        """C-STORE of objects in their own transfer syntaxes; the statuses, -1 where the context is refused."""
        pairs = dict.fromkeys((item.sop_class, item.transfer_syntax) for item in objects)

        async def work(association: Association) -> list[int]:
            statuses = []
            for item in objects:
                context = association.context(item.sop_class, item.transfer_syntax)
                if context is None:
                    statuses.append(-1)
                else:
                    statuses.append((await association.store(context, item.sop_instance, item.data)).status)
            return statuses

        return self.on([Proposal(sop_class, (syntax,)) for sop_class, syntax in pairs], work)

    def find(self, keys: Dataset, model: str = FIND["study"]) -> list[Dataset]:
        """C-FIND; the answers, of which the last response must be a success."""

        async def work(association: Association) -> list[Dataset]:
            syntax = self._syntax(association, model)
            responses = [r async for r in association.find(model, to_bytes(keys, syntax))]
            assert [r.status for r in responses[-1:]] == [st.SUCCESS]
            return [from_bytes(r.data, syntax) for r in responses[:-1]]

        return self.on([Proposal(model, NATIVE)], work)

    def move(self, keys: Dataset, destination: str, model: str = MOVE["study"]) -> list[Response]:
        """C-MOVE; all responses."""

        async def work(association: Association) -> list[Response]:
            identifier = to_bytes(keys, self._syntax(association, model))
            return [r async for r in association.move(model, identifier, destination)]

        return self.on([Proposal(model, NATIVE)], work)

    def get(self, keys: Dataset, *pairs: tuple[str, str], model: str = GET["study"]) -> tuple[int, dict[str, Encoded]]:
        """C-GET of objects of these SOP classes and transfer syntaxes; the final status, and what came."""
        held = Archive()
        storage = [Proposal(sop_class, (syntax,), scu=False, scp=True) for sop_class, syntax in pairs]

        async def work(association: Association) -> int:
            identifier = to_bytes(keys, self._syntax(association, model))
            return [r.status async for r in association.get(model, identifier)][-1]

        status = self.on([Proposal(model, NATIVE), *storage], work, held.services())
        return status, held.objects

    def normalized(
        self, sop_class: str, work: Callable[[Association], Awaitable[Result]], services: Sequence[Service] = ()
    ) -> Result:
        """Any work in a context of this SOP class, Implicit VR Little Endian."""
        return self.on([Proposal(sop_class, (uids.IMPLICIT_LE,))], work, services)

    @staticmethod
    def _syntax(association: Association, model: str) -> str:
        context = association.context(model)
        assert context is not None, "the peer refused the context"
        return context.transfer_syntax


def keys(level: str, **values: str) -> Dataset:
    """An identifier of a query at a level."""
    made = Dataset()
    made.QueryRetrieveLevel = level
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made
