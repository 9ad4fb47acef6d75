"""Each row of the catalogue about doors, times, the web and patients has a test with its id, a place or a reason.

A row with more than one door or case may have both: tests that carry its id, and more of them elsewhere.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ROWS = {"HL": 23, "HT": 8, "PH": 9, "RL": 8, "TM": 8, "UL": 23, "WS": 14}  # how many there are of each
IDS = [f"{kind}-{number:02d}" for kind, count in ROWS.items() for number in range(1, count + 1)]

# tests of a row whose names do not carry its id
PLACES: dict[str, tuple[str, ...]] = {
    "HT-01": (
        "system/test_web_door.py::test_strangers_have_no_body_and_no_claim_is_believed",
        "system/test_web_door.py::test_the_body_of_a_refused_request_is_not_read_to_its_end",
        "system/test_web_door.py::test_a_body_that_is_no_http_is_answered_once",
    ),
    "HT-02": (
        "system/test_web_door.py::test_every_part_of_a_request_has_a_deadline",
        "system/test_web_door.py::test_half_requests_keep_nobody_out_and_end",
    ),
    "HT-04": ("unit/admin/test_admin_bodies.py::test_what_is_no_json_or_means_two_things_is_refused",),
    "PH-02": ("unit/test_telemetry_redaction.py::test_libraries_lose_their_text",),
    "PH-03": (
        "unit/test_telemetry_redaction.py::test_exceptions_are_described_without_their_text",
        "unit/test_telemetry.py::test_unknown_keys_do_not_reach_the_log",
    ),
    "PH-05": (
        "store/test_spool.py::test_a_kept_file_holds_head_and_data",
        "system/test_control.py::test_a_stale_socket_is_replaced_and_a_folder_is_closed_to_others",
        "system/test_life.py::test_only_known_devices_enter_and_others_are_seen_knocking",
    ),
    "PH-06": (
        "unit/test_telemetry_redaction.py::test_values_cannot_break_the_line",
        "unit/test_telemetry_redaction.py::test_any_text_becomes_one_ascii_line",
    ),
    "PH-07": (
        "wire/test_requests.py::test_a_handler_that_fails_is_answered_with_a_failure",
        "system/test_rest_orders.py::test_no_answer_repeats_a_value",
    ),
    "PH-08": (
        "store/test_reception.py::test_delivered_objects_are_purged_and_their_rows_stay",
        "store/test_small_objects.py::test_delivered_content_is_purged_and_comes_again_as_new",
        "store/test_thinning.py::test_that_the_audit_trail_was_thinned_is_part_of_it",
    ),
    "RL-03": ("system/test_web_door.py::test_without_descriptors_doors_refuse_aloud_and_what_is_open_goes_on",),
    # all threads of the doors are made at the start, so that it is the start which fails
    "RL-04": ("unit/service/test_serve.py::test_no_threads_is_one_line_without_a_traceback",),
    "RL-06": (
        "wire/lanes/test_audit_lane.py::test_a_repository_that_was_away_gets_all_in_order",
        "wire/lanes/test_audit_lane.py::test_nothing_of_the_audit_trail_is_ever_given_up",
    ),
    "RL-07": ("unit/routing/test_routing_evaluate.py::test_regular_expressions_are_linear",),
    "RL-08": (
        "unit/accounts/test_passwords.py::test_a_flood_is_refused_and_then_it_goes_on",
        "store/test_sign_in.py::test_an_address_has_a_limit_over_all_names",
    ),
    "WS-01": (
        "unit/admin/test_node_pages.py::test_hostile_names_stay_text",
        "store/test_audit_web.py::test_hostile_names_are_inert",
        "browser/test_now_page.py::test_it_answers_at_one_look_and_names_no_patient",
        "law/test_pages.py::test_nothing_turns_off_the_escaping_of_what_comes_from_outside",
    ),
    # the audit trail is the only thing that is exported as CSV
    "WS-02": ("store/test_audit_rest.py::test_a_spreadsheet_gets_no_formulas",),
    # a broker serves one site: there is no object of another one, and an unknown number is 404
    "WS-04": (
        "store/test_api_tokens.py::test_each_role_gets_where_its_rights_are_and_nowhere_else",
        "unit/admin/test_pages_over_http.py::test_each_role_gets_what_it_may_by_each_method",
        "store/test_rest_users.py::test_a_person_sees_and_ends_own_sessions_alone",
    ),
    "WS-05": (
        "store/test_sign_in_pages.py::test_a_second_sign_in_ends_the_session_of_before",
        "store/test_sign_in_pages.py::test_a_session_of_a_disabled_user_ends_while_it_is_used",
        "store/test_users.py::test_what_ends_all_sessions_of_a_user_and_of_nobody_else",
    ),
    "WS-08": (
        "store/test_sign_in_pages.py::test_nobody_is_sent_to_another_website",
        "unit/admin/test_same_origin.py::test_a_path_on_this_host_leads_nowhere_else",
        "system/test_web_door.py::test_no_redirect_names_the_host_that_the_caller_made_up",
        "unit/admin/test_shell.py::test_headers_keep_pages_private_and_static_files_for_ever",
    ),
    "WS-09": (
        "store/test_sign_in.py::test_the_first_admin_is_made_once",
        "store/test_sign_in.py::test_a_link_for_the_first_admin_is_void_once_there_is_one",
        "store/test_sign_in.py::test_who_has_no_password_or_is_disabled_does_not_come_in",
        "unit/accounts/test_password_rules.py::test_what_is_guessed_first_is_refused_with_the_reason",
        "system/test_people.py::test_each_start_has_a_new_link_until_there_is_an_admin",
    ),
    "WS-10": (
        "store/test_oidc.py::test_an_id_token_for_others_is_not_believed",
        "store/test_oidc.py::test_a_signature_of_others_is_not_believed",
        "store/test_oidc.py::test_an_answer_to_another_question_is_refused",
        "store/test_oidc.py::test_an_answer_counts_once_and_in_the_browser_that_asked",
        "store/test_oidc.py::test_who_has_no_role_or_is_disabled_stays_out",
        "unit/accounts/test_oidc_roles.py::test_the_claim_gives_a_role",
    ),
    # nobody uploads a file: certificates and keys are files of the machine, which the settings name
    "WS-11": (
        "unit/admin/test_shell.py::test_settings_are_filtered_sorted_and_masked",
        "store/test_nodes_rest.py::test_secrets_are_shown_to_nobody_and_stay",
    ),
}

# rows without a test, and what stands for it or will bring it
REASONS = {
    "PH-09": "there is no support bundle: nothing is gathered to be sent away; `broker doctor` prints words of its own",
    "RL-01": "takes hours: `tests/bench/soak.py` runs a hospital and prints the slope of its memory; UL-19 is short",
    "WS-14": "nothing is shipped but the source: whoever installs it resolves the bounds of pyproject.toml, "
    "which says of each dependency what it is for; there is no list of hashes and no SBOM yet",
}


@cache
def found_by_id() -> dict[str, list[str]]:
    """Names of test functions by the row whose id they carry."""
    found = defaultdict(list)
    for path in TESTS.rglob("test_*.py"):
        for name in functions(path):
            if match := re.match(r"test_(hl|ht|ph|rl|tm|ul|ws)_?(\d\d)(?:_|$)", name):
                found[f"{match[1].upper()}-{match[2]}"].append(name)
    return found


@cache
def functions(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("row", IDS)
def test_a_row_has_a_test_or_a_reason(row: str) -> None:
    for file, _, name in (place.partition("::") for place in PLACES.get(row, ())):
        assert name in functions(TESTS / file), f"{file}::{name}"
    assert found_by_id()[row] or PLACES.get(row) or row in REASONS


def test_no_row_is_excused_that_has_a_test() -> None:
    assert {row for row in REASONS if found_by_id()[row] or row in PLACES} == set()
    assert PLACES.keys() | REASONS.keys() <= set(IDS)
