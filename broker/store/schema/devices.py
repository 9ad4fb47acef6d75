"""The tables of what nodes and devices did and asked. `store.schema.tables` has them."""

from __future__ import annotations

from sqlmodel import Field

from broker.store.schema.base import BIG, Base


class DeviceQueryRow(Base, table=True):
    """The last worklist queries of a device, without patient data (`worklist.explain.memory`): one row per device."""

    __tablename__ = "device_query"
    calling_ae: str = Field(primary_key=True)
    address: str = Field(primary_key=True)
    first_at: float
    last_at: float = Field(index=True)
    calls: int = Field(sa_type=BIG)
    queries: str  # JSON, oldest first


class NodeContactRow(Base, table=True):
    """When a node was last in contact, for each kind of contact (`model.contact`)."""

    __tablename__ = "node_contact"
    node: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    at: float
    detail: str


class NodeTestRow(Base, table=True):
    """A test of a node that a person started, with what each of its steps found."""

    __tablename__ = "node_test"
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    node: str = Field(index=True)
    at: float
    actor: str
    good: bool
    duration: float  # seconds
    steps: str  # JSON
