"""No table grows for ever: a rule deletes its rows by their age, or a reason bounds them."""

from __future__ import annotations

from broker.settings import Settings
from broker.store.ageing.schedule import scheduled
from broker.store.schema.tables import METADATA

RULES = [one.rule for one in scheduled(Settings(), 0.0)]
WITH_ITS_ORDER = "deleted with its order"
WITH_ITS_PATIENT = "deleted with its patient"
WITH_ITS_MPPS = "deleted with its MPPS"
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
    "heard": "deleted with its patient or visit",
    "kept_apart": WITH_ITS_PATIENT,
    "kept_back": WITH_ITS_MPPS,
    "mpps_link": WITH_ITS_MPPS,
    "mpps_message": WITH_ITS_MPPS,
    "order_link": WITH_ITS_ORDER,
    "patient_alias": WITH_ITS_PATIENT,
    "patient_term": WITH_ITS_PATIENT,
    "requested_procedure": WITH_ITS_ORDER,
    "scheduled_step": WITH_ITS_ORDER,
    "step_name": WITH_ITS_ORDER,
    "step_station": WITH_ITS_ORDER,
    "user_account": "one row a person; the audit trail names it",
    "user_session": "deleted when it has expired",
}


def test_every_table_is_bounded() -> None:
    thinned = {rule.age.table.name for rule in RULES}
    assert not thinned & BOUNDS.keys()
    assert thinned | BOUNDS.keys() == set(METADATA.tables)
