"""Keeps HTTP connections to destinations, a service for each node as it is, and says what it means if none answers."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, TypeVar

import httpx

from broker.delivery.notices.trust import NoticeTls
from broker.delivery.object_sender import CarryEnding
from broker.delivery.outcome import JobVerdict
from broker.delivery.patience import Patience
from broker.delivery.web.http_parts import unreached
from broker.errors import ConfigurationError, PeerFault
from broker.site.nodes import Node

CONNECT = 15.0  # seconds
RENEW = 600.0  # seconds after which connections are made anew, as TLS files may have changed


class WebService:
    """The connections to one node as it is now."""

    def __init__(self, node: Node, context: ssl.SSLContext | None) -> None:
        """`context`: of its TLS, None for http."""
        self.node, self.born = node, time.monotonic()
        self.users, self.retired = 0, False  # objects under way; another one has taken its place
        limits = httpx.Limits(max_keepalive_connections=node.associations, keepalive_expiry=node.association_idle)
        self.client = httpx.AsyncClient(verify=context or False, limits=limits, follow_redirects=False, trust_env=False)

    def extensions(self, seconds: float) -> dict[str, object]:
        """Those of a request to it, in which `seconds` without any progress end it."""
        timeout = httpx.Timeout(seconds, connect=min(CONNECT, seconds)).as_dict()
        server_name = self.node.tls.server_name if self.node.tls else None
        return {"timeout": timeout} | ({"sni_hostname": server_name} if server_name else {})

    async def close(self) -> None:
        """End the connections."""
        await self.client.aclose()


Service = TypeVar("Service", bound=WebService)


class WebServices(Generic[Service]):
    """The services that one carrier uses, by the name of their node."""

    def __init__(self, tls: NoticeTls, make: Callable[[Node, ssl.SSLContext | None], Service]) -> None:
        self._tls, self._make = tls, make
        self._services: dict[str, tuple[Service, Patience]] = {}
        self._making = asyncio.Lock()

    @asynccontextmanager
    async def use(self, node: Node) -> AsyncIterator[tuple[Service, Patience]]:
        """The service of a node, while an object is under way. Raises PeerFault."""
        service, patience = await self._of(node)
        service.users += 1
        try:
            yield service, patience
        finally:
            service.users -= 1
            if service.retired and not service.users:
                await service.close()

    async def close(self) -> None:
        """End all connections."""
        await asyncio.gather(*(service.close() for service, _ in self._services.values()))
        self._services.clear()

    async def _of(self, node: Node) -> tuple[Service, Patience]:
        async with self._making:
            found = self._services.get(node.name)
            if found is not None and found[0].node == node and time.monotonic() - found[0].born < RENEW:
                return found
            try:
                context = await asyncio.to_thread(self._tls, node)
            except ConfigurationError as error:
                raise PeerFault(str(error), code="tls-files") from None
            same = found is not None and found[0].node == node
            patience = found[1] if found is not None and same else Patience(node.answer_timeout)
            if found is not None:
                found[0].retired = True
                if not found[0].users:
                    await found[0].close()
            self._services[node.name] = self._make(node, context), patience
            return self._services[node.name]


class Unanswered(Exception):
    """A request had no answer, perhaps by the fault of its object; `ending` says what becomes of that."""

    def __init__(self, ending: CarryEnding) -> None:
        super().__init__(ending.code)
        self.ending = ending


@contextmanager
def answered(patience: Patience, job: int) -> Iterator[None]:
    """Requests about the object of a job. Raises Unanswered, and PeerFault if the service is not reached."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise PeerFault("the service is not reached", code=unreached(error)) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
        raise PeerFault("the service has no address", code="unreachable") from None
    except httpx.TimeoutException:
        raise Unanswered(CarryEnding(JobVerdict.BUSY, "no-answer", cut=True, after=patience.passed(job))) from None
    except (httpx.HTTPError, ssl.SSLError) as error:
        if (code := unreached(error)).startswith("tls-"):  # such as a certificate of ours that it does not take
            raise PeerFault("the service ended TLS", code=code) from None
        raise Unanswered(CarryEnding(JobVerdict.BUSY, "connection-lost", cut=True)) from None
