"""Lists devices that called and were not let in, with what they proposed and asked, for a person to decide on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.dicom import uids
from broker.model.contact import NodeContacts
from broker.site.directory import Directory
from broker.store import knocks
from broker.store.db.database import Database
from broker.store.knocks import Knock
from broker.store.worklist import device_queries
from broker.store.worklist.device_queries import DeviceQueries
from broker.worklist.explain import recall

QUERIES = 5  # of a device that are told


@dataclass(frozen=True, slots=True)
class Stranger:
    """A device that is not let in. `node`: its name, if it is a node that calls a wrong AE title.

    `queries`: keys of its last ones, if it was let in once; values of patients left out.
    """

    knock: Knock
    node: str
    queries: tuple[dict[str, str], ...]

    @property
    def wants(self) -> list[str]:
        """What the SOP classes are for that it proposed, in words."""
        return wants(self.knock.contexts)


def strangers(database: Database, directory: Directory, contacts: Mapping[str, NodeContacts]) -> list[Stranger]:
    """Devices that called and were not let in, the last to call first (blocking). Raises StoreUnavailable.

    A node is among them only if it called a wrong AE title and was not let in since.
    """
    found = []
    for knock, asked in database.read(_knocking).result():
        node = directory.device(knock.ae_title, knock.address)
        if node is not None:
            last = contacts[node.name].last_in if node.name in contacts else None
            if not knock.called or not node.active or (last is not None and last.at > knock.last_at):
                continue
        keys = [recall.summary(one["asked"]) for one in reversed(asked.queries)] if asked is not None else []
        told = tuple(one for one in keys if one is not None)[:QUERIES]
        found.append(Stranger(knock, node.name if node is not None else "", told))
    return found


def _knocking(connection: Connection) -> list[tuple[Knock, DeviceQueries | None]]:
    asked = device_queries.of_knocking(connection)
    return [(knock, asked.get((knock.ae_title, knock.address))) for knock in knocks.all_of(connection)]


def wants(contexts: Sequence[str]) -> list[str]:
    """What SOP classes are for, in words."""
    words = {
        uids.VERIFICATION: "verification",
        uids.MODALITY_WORKLIST: "worklist",
        uids.PERFORMED_STEP: "performed procedure step",
    }
    storage = "1.2.840.10008.5.1.4.1.1."
    return sorted({words.get(one) or ("storage" if one.startswith(storage) else "other") for one in contexts})
