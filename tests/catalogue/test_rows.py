"""Each row of the catalogue has a test with its id, a place or a reason; those of messages (DM, DS) are not listed.

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
ROWS = {
    "CC": 9,
    "CR": 16,
    "HL": 23,
    "HT": 8,
    "PH": 9,
    "RL": 8,
    "ST": 14,
    "TM": 8,
    "UL": 23,
    "WS": 14,
}  # how many there are of each
IDS = [f"{kind}-{number:02d}" for kind, count in ROWS.items() for number in range(1, count + 1)]

KILLS = ("system/test_kill.py::test_nothing_acknowledged_is_lost",)  # at named points and at random; also a bench

# tests of a row whose names do not carry its id
PLACES: dict[str, tuple[str, ...]] = {
    "CC-01": (
        "store/test_queue_store.py::test_two_claimers_never_get_the_same_job",
        "wire/lanes/test_lanes_work.py::test_a_lane_may_have_several_workers_that_share_no_job",
    ),
    "CC-05": ("system/test_life.py::test_second_broker_on_the_same_data_is_refused",),
    "CC-07": (
        "store/test_waiting_jobs.py::test_what_is_being_sent_or_is_done_stays_as_it_is",
        "store/test_waiting_jobs.py::test_a_job_that_waits_is_given_up_once",
    ),
    "CC-08": ("store/test_queue_store.py::test_a_million_waiting_jobs_cost_one_step_each_lane",),
    "CC-09": (
        "store/test_queue_store.py::test_messages_of_a_group_stay_in_order_whatever_fails",
        "store/test_handing.py::test_a_later_version_waits_for_the_one_that_was_handed_over",
    ),
    **{f"CR-{number:02d}": KILLS for number in (*range(1, 10), 16)},
    "CR-10": (
        "store/test_queue_store.py::test_a_lease_that_is_over_is_freed_and_no_other",
        "store/test_queue_store.py::test_what_a_process_had_in_hand_when_it_died_goes_last_and_alone",
    ),
    "CR-11": (
        "store/test_queue_store.py::test_a_stale_report_is_ignored",
        "wire/lanes/test_lanes_failures.py::test_a_report_after_a_lost_lease_is_ignored",
    ),
    "CR-12": (
        "store/test_queue_store.py::test_what_a_process_dies_of_again_and_again_is_held_and_its_neighbours_are_not",
    ),
    "CR-13": (*KILLS, "system/test_stopped_database.py::test_every_write_is_answered_while_the_database_is_silent"),
    "CR-14": (
        "system/test_life.py::test_stops_in_time_with_idle_peers",
        "system/test_life.py::test_stops_in_time_under_load_and_keeps_what_it_accepted",
    ),
    "CR-15": (
        "system/test_workers.py::test_a_killed_worker_loses_nothing_and_comes_again",
        "system/test_workers.py::test_a_worker_that_dies_again_and_again_ends_the_broker",
    ),
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
    "ST-01": (
        "store/test_spool.py::test_a_disk_that_cannot_take_the_head_leaves_nothing",
        "system/test_outage.py::test_full_disk_refuses_images_and_orders_while_the_worklist_answers",
        "system/test_outage.py::test_real_small_disk_fills_and_recovers",
    ),
    "ST-02": ("store/test_spool.py::test_a_failing_write_and_a_failing_sync_say_so",),
    "ST-03": (
        "store/test_spool.py::test_short_writes_are_continued",
        "system/test_start_degraded.py::test_read_only_disk",
        "system/test_web_door.py::test_without_descriptors_doors_refuse_aloud_and_what_is_open_goes_on",
    ),
    "ST-04": ("unit/service/test_doctor.py::test_disk", "store/test_fsck.py::test_a_large_spool_is_checked_in_parts"),
    "ST-07": (
        "store/test_spool_owner.py::test_an_empty_folder_in_its_place_is_refused_until_a_person_accepts_it",
        "store/test_spool_owner.py::test_a_broker_without_its_volume_does_not_start_and_keeps_what_waits",
    ),
    "ST-08": (
        "system/test_lost_database.py::test_objects_in_the_spool_tell_of_an_empty_database",
        "store/test_fsck.py::test_what_is_spoiled_is_told_and_nothing_is_changed",
    ),
    "ST-09": ("wire/lanes/test_lanes_refusals.py::test_altered_bytes_are_never_taken_for_the_object",),
    "ST-10": (
        "store/test_writer.py::test_a_connection_lost_inside_a_unit_is_passing_trouble",
        "store/test_writer.py::test_a_standby_is_passing_trouble",
        "system/test_stopped_database.py::test_every_write_is_answered_while_the_database_is_silent",
    ),
    "ST-11": (
        "system/test_life.py::test_second_broker_on_the_same_data_is_refused",
        "store/test_checkpoints.py::test_what_was_committed_is_soon_in_the_file",
    ),
    "ST-12": ("store/test_writer.py::test_a_server_without_fsync_is_refused",),
    "ST-13": (
        "store/test_migrations.py::test_a_newer_database_is_refused_and_left_alone",
        "store/test_migrations.py::test_a_migration_that_fails_leaves_nothing",
    ),
    "ST-14": ("system/test_backup.py::test_a_backup_under_load_is_restored_and_all_is_delivered",),
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
    "CC-06": "one process alone has the housekeeping: it holds the lock of the data directory (CC-05)",
    "ST-06": "the loss of power needs a file system that forgets, which no package here has: ST-05 proves by system "
    "calls that nothing is answered before it is synced",
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
            if match := re.match(r"test_(cc|cr|hl|ht|ph|rl|st|tm|ul|ws)_?(\d\d)(?:_|$)", name):
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
