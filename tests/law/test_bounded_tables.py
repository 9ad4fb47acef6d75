"""No table grows for ever without somebody having said so: a rule deletes its rows, or a reason bounds them.

What neither holds for is listed too, by what makes it grow; the list may only become shorter.
"""

from __future__ import annotations

from broker.store import thinning
from broker.store.schema.tables import METADATA
from broker.store.thinning import ThinningRule

RULES = (*(rule for rule in vars(thinning).values() if isinstance(rule, ThinningRule)), thinning.appointments(""))
WITH_ITS_OBJECT = "deleted when the bytes of its object are purged"
OF_PEOPLE = "made by a person's hand, some a day"
BOUNDS = {
    "api_token": OF_PEOPLE,
    "audit_place": "one row an audit repository",
    "authority": "one row a use and namespace of the hospital",
    "authority_join": "deleted when the names are joined",
    "commitment_ask": "deleted with its request",
    "commitment_object": "deleted when its request is judged",
    "commitment_uid": "deleted with its request",
    "committed": "deleted with its job",
    "configuration": OF_PEOPLE,
    "content": WITH_ITS_OBJECT,
    "device_query": "1000 devices, the one silent longest goes (store.worklist.device_queries.MAX_DEVICES)",
    "lane": "one row a lane",
    "node_contact": "one row a node and kind of contact",
    "node_test": "the last ones of a node (store.node_tests)",
    "pause": "one row a node",
    "recovery_code": "deleted with the second factor of its user",
    "rule_draft": "one row a person",
    "rule_plan": OF_PEOPLE,
    "second_factor": "one row a user",
    "sender": "100 senders (store.senders.MOST)",
    "sign_in_flow": "deleted when it has expired",
    "sign_in_link": "deleted when it has expired",
    "sign_in_try": "deleted when it is old",
    "study_key": "deleted with its study",
    "source_item": "of a worklist server: those whose day is over are forgotten (worklist.source.source_schedule)",
    "user_account": "one row a person; the audit trail names it",
    "user_session": "deleted when it has expired",
}
# rows that nothing deletes yet, and what makes them more
GROWS = {
    "heard": "patients and visits",
    "kept_apart": "patients with an identifier under two names",
    "kept_back": "objects of wrong worklist entries",
    "mpps": "exams",
    "mpps_link": "exams",
    "mpps_message": "exams",
    "order_link": "orders that replace others",
    "patient": "patients",
    "patient_alias": "merges",
    "patient_term": "patients",
    "requested_procedure": "orders",
    "scheduled_step": "orders",
    "service_request": "orders",
    "step_name": "orders",
    "step_station": "orders",
    "visit": "visits",
}


def test_every_table_is_bounded_or_known_to_grow() -> None:
    thinned = {rule.age.table.name for rule in RULES}
    assert not thinned & BOUNDS.keys()
    assert not (thinned | BOUNDS.keys()) & GROWS.keys(), "it is bounded now: take it off the list"
    assert thinned | BOUNDS.keys() | GROWS.keys() == set(METADATA.tables)
