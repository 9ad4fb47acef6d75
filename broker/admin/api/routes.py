"""Says which modules make the REST interface, beside health and status, in the order in which paths are tried."""

from __future__ import annotations

from fastapi import APIRouter

from broker.admin.api import (
    audit,
    commitments,
    conformance,
    doctor,
    fsck,
    imports,
    mapping_drafts,
    mappings,
    mpps,
    orders,
    settings,
)
from broker.admin.api.accounts import own_factor, sessions, tokens, users
from broker.admin.api.exams import changing, finding, patients
from broker.admin.api.messages import actions, journal, trying
from broker.admin.api.nodes import knocking, node_tests, nodes
from broker.admin.api.routing import deliveries, held_objects, holds, rule_drafts, rules, site, waiting
from broker.admin.api.studies import studies
from broker.admin.api.upkeep import retention
from broker.admin.api.worklist import explaining, looking, planned
from broker.admin.context import AdminContext

ROUTES = (
    audit,
    mapping_drafts,
    mappings,
    held_objects,  # before holds: its paths are no numbers of jobs
    holds,
    waiting,
    deliveries,
    tokens,
    users,
    sessions,
    own_factor,
    doctor,
    fsck,
    mpps,
    commitments,
    trying,
    actions,  # before journal: its paths are no numbers of messages
    journal,
    explaining,
    looking,
    planned,
    orders,
    changing,
    finding,
    patients,
    imports,
    rules,
    rule_drafts,
    site,  # before nodes, as is knocking: their paths are no names of nodes
    knocking,
    nodes,
    node_tests,
    studies,
    retention,
    settings,
    conformance,
)


def routers(context: AdminContext) -> list[APIRouter]:
    """The routes of all of them."""
    return [module.router(context) for module in ROUTES]
