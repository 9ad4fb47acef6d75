"""The table of all pages. A test compares it with the routes of the application: no new page is forgotten.

Each page is looked at by `unit/admin/test_pages_over_http.py` and `browser/test_every_page.py` at its addresses.
What only it does is walked by its own tests in `browser`: by mouse, by keys alone, without script.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import FastAPI

from broker.admin.routers import Route
from support.web.hospital import Furnished


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePage:
    """A page. `addresses`: where the hospital of `hospital.py` shows it, `{user}` and `{invitation}` being filled in.

    `known`: for people who are signed in. `foreign`: it shows texts that came from outside. `mouse`, `keys`, `plain`:
    the tests in `tests/browser` that walk it, `FILE.TEST`.
    """

    route: str
    addresses: tuple[str, ...]
    known: bool = True
    foreign: bool = False
    mouse: str
    keys: str
    plain: str

    def at(self, hospital: Furnished) -> list[str]:
        """Its addresses in a hospital."""
        return [one.format(user=hospital.user, invitation=hospital.invitation) for one in self.addresses]


EVERY_BY_KEYS = "test_every_page.test_the_keyboard_reaches_everything"
EVERY_PLAIN = "test_every_page.test_without_script_nothing_is_missing"

PAGES = (
    SitePage(
        route="/", addresses=("/",), foreign=True,
        mouse="test_now_page.test_when_the_pacs_is_back_all_is_well_and_nobody_loads_the_page_again",
        keys="test_now_page.test_the_keyboard_reaches_everything_that_can_be_pressed",
        plain="test_now_page.test_without_script_it_says_the_same",
    ),
    SitePage(route="/pulse", addresses=("/pulse",), mouse=EVERY_BY_KEYS, keys=EVERY_BY_KEYS, plain=EVERY_PLAIN),
    SitePage(
        route="/rules", addresses=("/rules",), foreign=True,
        mouse="test_rule_pages_browser.test_a_new_workstation_gets_the_cts_of_a_ward_at_night",
        keys="test_rule_pages_browser.test_rules_are_moved_and_switched_by_keys_alone",
        plain="test_rule_pages_browser.test_all_of_it_works_without_script",
    ),
    SitePage(
        route="/rules/history", addresses=("/rules/history", "/rules/history?from=0&to=1"), foreign=True,
        mouse="test_rule_pages_browser.test_a_new_workstation_gets_the_cts_of_a_ward_at_night",
        keys=EVERY_BY_KEYS, plain="test_rule_pages_browser.test_all_of_it_works_without_script",
    ),
    SitePage(
        route="/rules/try", addresses=("/rules/try", "/rules/try?draft=1"),
        mouse="test_rule_pages_browser.test_a_dropped_file_is_tried",
        keys=EVERY_BY_KEYS, plain="test_rule_pages_browser.test_all_of_it_works_without_script",
    ),
    SitePage(
        route="/rules/explain", addresses=("/rules/explain", "/rules/explain?exam=1"),
        mouse="test_routing_questions_browser.test_9_which_rule_sent_the_study_where_and_why_not_to_cad",
        keys=EVERY_BY_KEYS, plain=EVERY_PLAIN,
    ),
    SitePage(
        route="/rules/drafts/{number:int}", addresses=("/rules/drafts/1", "/rules/drafts/1?at=1&do=down"), foreign=True,
        mouse="test_rule_pages_browser.test_a_new_workstation_gets_the_cts_of_a_ward_at_night",
        keys="test_rule_pages_browser.test_rules_are_moved_and_switched_by_keys_alone",
        plain="test_rule_pages_browser.test_all_of_it_works_without_script",
    ),
    SitePage(
        route="/rules/drafts/{number:int}/rules/{place}",
        addresses=("/rules/drafts/1/rules/1", "/rules/drafts/1/rules/2", "/rules/drafts/1/rules/new"), foreign=True,
        mouse="test_rule_pages_browser.test_a_new_workstation_gets_the_cts_of_a_ward_at_night",
        keys="test_rule_pages_browser.test_a_condition_is_built_by_keys_alone",
        plain="test_rule_pages_browser.test_all_of_it_works_without_script",
    ),
    SitePage(
        route="/nodes", addresses=("/nodes", "/nodes?q=nothing+matches", "/nodes?sort=-name"), foreign=True,
        mouse="test_node_pages_browser.test_a_device_is_admitted_with_a_profile_by_mouse",
        keys="test_node_pages_browser.test_a_node_is_disabled_and_enabled_by_keys_alone",
        plain="test_node_pages_browser.test_all_of_it_works_without_script",
    ),
    SitePage(
        route="/nodes/knocking", addresses=("/nodes/knocking", "/nodes/knocking?q=nothing+matches"), foreign=True,
        mouse="test_node_pages_browser.test_a_device_is_admitted_with_a_profile_by_mouse",
        keys="test_node_pages_browser.test_a_device_is_admitted_by_keys_alone",
        plain="test_node_pages_browser.test_all_of_it_works_without_script",
    ),
    SitePage(
        route="/nodes/history", addresses=("/nodes/history", "/nodes/history?from=1&to=2"), foreign=True,
        mouse="test_node_pages_browser.test_history_compares_and_goes_back",
        keys="test_node_pages_browser.test_history_compares_and_goes_back_by_keys_alone",
        plain="test_node_pages_browser.test_history_goes_back_without_script",
    ),
    SitePage(
        route="/nodes/add", addresses=("/nodes/add",),
        mouse="test_node_pages_browser.test_what_is_wrong_stands_beside_the_field_and_is_mended",
        keys="test_node_pages_browser.test_a_node_is_added_and_edited_by_keys_alone",
        plain="test_node_pages_browser.test_all_of_it_works_without_script",
    ),
    SitePage(
        route="/nodes/{name}/edit", addresses=("/nodes/pacs/edit", "/nodes/lab/edit"), foreign=True,
        mouse="test_node_pages_browser.test_history_compares_and_goes_back",
        keys="test_node_pages_browser.test_a_node_is_added_and_edited_by_keys_alone",
        plain="test_node_pages_browser.test_all_of_it_works_without_script",
    ),
    SitePage(
        route="/nodes/{name}", addresses=("/nodes/pacs", "/nodes/cad-lung", "/nodes/us-ward-3", "/nodes/lab"),
        foreign=True,
        mouse="test_node_pages_browser.test_a_test_shows_its_result_without_loading_the_page",
        keys="test_node_pages_browser.test_a_node_is_disabled_and_enabled_by_keys_alone",
        plain="test_node_pages_browser.test_all_of_it_works_without_script",
    ),
    SitePage(
        route="/exams", addresses=("/exams", "/exams?state=open", "/exams?find=x&station=nowhere"), foreign=True,
        mouse="test_exams_page.test_a_person_finds_an_exam_and_goes_back",
        keys="test_exams_page.test_by_keys_alone",
        plain="test_exams_page.test_without_script",
    ),
    SitePage(
        route="/exams/{id:int}", addresses=("/exams/1", "/exams/2"), foreign=True,
        mouse="test_exams_page.test_a_person_finds_an_exam_and_goes_back",
        keys="test_exams_page.test_by_keys_alone",
        plain="test_exams_page.test_without_script",
    ),
    SitePage(
        route="/exams/{id:int}/why", addresses=("/exams/1/why", "/exams/1/why?device=CT01", "/exams/2/why"),
        mouse=EVERY_BY_KEYS, keys=EVERY_BY_KEYS, plain="test_exams_page.test_without_script",
    ),
    SitePage(
        route="/exams/{id:int}/edit", addresses=("/exams/1/edit", "/exams/2/edit"), foreign=True,
        mouse="test_exam_changes_page.test_an_exam_is_changed_by_keys_alone",
        keys="test_exam_changes_page.test_an_exam_is_changed_by_keys_alone", plain=EVERY_PLAIN,
    ),
    SitePage(
        route="/exams/new", addresses=("/exams/new",),
        mouse="test_exam_changes_page.test_it_works_without_script", keys=EVERY_BY_KEYS,
        plain="test_exam_changes_page.test_it_works_without_script",
    ),
    SitePage(
        route="/exams/emergency", addresses=("/exams/emergency",),
        mouse="test_exam_changes_page.test_an_emergency_is_on_the_worklist_and_merged_once_it_is_registered",
        keys=EVERY_BY_KEYS, plain="test_exam_changes_page.test_it_works_without_script",
    ),
    SitePage(
        route="/exams/{id:int}/merge", addresses=("/exams/1/merge",),
        mouse="test_exam_changes_page.test_an_emergency_is_on_the_worklist_and_merged_once_it_is_registered",
        keys=EVERY_BY_KEYS, plain="test_exam_changes_page.test_it_works_without_script",
    ),
    SitePage(
        route="/patients/{id:int}/beside/{retired:int}", addresses=("/patients/1/beside/3",), foreign=True,
        mouse="test_exam_changes_page.test_an_emergency_is_on_the_worklist_and_merged_once_it_is_registered",
        keys=EVERY_BY_KEYS, plain="test_exam_changes_page.test_it_works_without_script",
    ),
    SitePage(
        route="/exams/{id:int}/sheet", addresses=("/exams/1/sheet", "/exams/2/sheet"), foreign=True,
        mouse="test_exam_changes_page.test_all_of_a_day_is_found_and_printed_by_mouse",
        keys=EVERY_BY_KEYS, plain="test_exam_changes_page.test_it_works_without_script",
    ),
    SitePage(
        route="/exams/day", addresses=("/exams/day", "/exams/day?station=CT01&day=2026-03-12"),
        mouse="test_exam_changes_page.test_all_of_a_day_is_found_and_printed_by_mouse",
        keys=EVERY_BY_KEYS, plain="test_exam_changes_page.test_it_works_without_script",
    ),
    SitePage(
        route="/worklist", addresses=("/worklist", "/worklist?day=2030-01-15", "/worklist?day=tomorrow"), foreign=True,
        mouse="test_worklist_page.test_what_a_device_sees_by_mouse", keys="test_worklist_page.test_by_keys_alone",
        plain="test_worklist_page.test_without_script",
    ),
    SitePage(
        route="/worklist/device",
        addresses=(
            "/worklist/device?name=ct-radiology", "/worklist/device?name=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E&query=3",
        ),
        foreign=True,
        mouse="test_worklist_page.test_what_a_device_sees_by_mouse", keys="test_worklist_page.test_by_keys_alone",
        plain="test_worklist_page.test_without_script",
    ),
    SitePage(
        route="/worklist/unseen",
        addresses=("/worklist/unseen", "/worklist/unseen?reason=past", "/worklist/unseen?reason=x&after=3..1.1"),
        foreign=True,
        mouse="test_worklist_page.test_what_a_device_sees_by_mouse", keys=EVERY_BY_KEYS,
        plain="test_worklist_page.test_without_script",
    ),
    SitePage(
        route="/performed", addresses=("/performed", "/performed?attention=waiting", "/performed?linking=linked"),
        mouse="test_performed_page.test_a_step_that_waits_is_linked_by_mouse",
        keys="test_performed_page.test_a_step_is_set_aside_by_keys_alone",
        plain="test_performed_page.test_it_works_without_script",
    ),
    SitePage(
        route="/performed/{row:int}", addresses=("/performed/1", "/performed/2"), foreign=True,
        mouse="test_performed_page.test_a_step_that_waits_is_linked_by_mouse",
        keys="test_performed_page.test_a_step_is_set_aside_by_keys_alone",
        plain="test_performed_page.test_it_works_without_script",
    ),
    SitePage(
        route="/messages", addresses=("/messages", "/messages?state=open", "/messages?exam=1", "/messages?finding=x"),
        foreign=True,
        mouse="test_messages_page.test_what_the_ris_sent_for_an_exam_and_whether_it_heard",
        keys="test_messages_page.test_messages_are_dealt_with_by_keys_alone",
        plain="test_messages_page.test_without_script",
    ),
    SitePage(
        route="/messages/{row:int}", addresses=("/messages/1", "/messages/2", "/messages/3"), foreign=True,
        mouse="test_messages_page.test_what_the_ris_sent_for_an_exam_and_whether_it_heard",
        keys="test_messages_page.test_messages_are_dealt_with_by_keys_alone",
        plain="test_messages_page.test_without_script",
    ),
    SitePage(
        route="/messages/sent/{row}", addresses=("/messages/sent/1", "/messages/sent/2"), foreign=True,
        mouse="test_messages_page.test_what_the_ris_sent_for_an_exam_and_whether_it_heard",
        keys=EVERY_BY_KEYS, plain=EVERY_PLAIN,
    ),
    SitePage(
        route="/messages/{row:int}/try", addresses=("/messages/2/try", "/messages/3/try"), foreign=True,
        mouse="test_messages_page.test_a_refused_message_is_tried_with_a_draft_and_processed_again",
        keys=EVERY_BY_KEYS, plain="test_messages_page.test_without_script",
    ),
    SitePage(
        route="/mappings", addresses=("/mappings",), foreign=True,
        mouse="test_mapping_pages_browser.test_a_profile_is_edited_tried_published_and_undone",
        keys=EVERY_BY_KEYS, plain="test_mapping_pages_browser.test_without_script",
    ),
    SitePage(
        route="/mappings/{name}", addresses=("/mappings/st-anna", "/mappings/lab", "/mappings/ihe"), foreign=True,
        mouse="test_mapping_pages_browser.test_a_profile_is_edited_tried_published_and_undone",
        keys=EVERY_BY_KEYS, plain="test_mapping_pages_browser.test_without_script",
    ),
    SitePage(
        route="/mappings/{name}/history",
        addresses=("/mappings/st-anna/history", "/mappings/st-anna/history?from=2&to=1", "/mappings/lab/history"),
        foreign=True,
        mouse="test_mapping_pages_browser.test_a_profile_is_edited_tried_published_and_undone",
        keys=EVERY_BY_KEYS, plain="test_mapping_pages_browser.test_without_script",
    ),
    SitePage(
        route="/mappings/add", addresses=("/mappings/add",),
        mouse="test_mapping_pages_browser.test_keywords_keys_and_paths_are_completed_by_keys",
        keys="test_mapping_pages_browser.test_keywords_keys_and_paths_are_completed_by_keys", plain=EVERY_PLAIN,
    ),
    SitePage(
        route="/mappings/{name}/edit", addresses=("/mappings/st-anna/edit", "/mappings/lab/edit"), foreign=True,
        mouse="test_mapping_pages_browser.test_a_profile_is_edited_tried_published_and_undone",
        keys="test_mapping_pages_browser.test_keywords_keys_and_paths_are_completed_by_keys",
        plain="test_mapping_pages_browser.test_without_script",
    ),
    SitePage(
        route="/queue",
        addresses=("/queue", "/queue?node=cad-lung", "/queue?state=held", "/queue?node=nothing+matches"),
        foreign=True,
        mouse="test_queue_page_browser.test_a_pacs_goes_down_and_what_waits_goes_elsewhere_until_it_is_back",
        keys="test_queue_page_browser.test_by_keys_a_slip_keeps_what_was_picked",
        plain="test_queue_page_browser.test_without_script",
    ),
    SitePage(
        route="/studies", addresses=("/studies", "/studies?state=incomplete", "/studies?find=x&modality=none"),
        foreign=True,
        mouse="test_studies_page.test_a_study_is_found_and_sent_again",
        keys="test_studies_page.test_a_study_is_found_and_sent_again",
        plain="test_studies_page.test_without_script",
    ),
    SitePage(
        route="/studies/{id:int}", addresses=("/studies/1", "/studies/1?series=1"), foreign=True,
        mouse="test_studies_page.test_a_study_is_found_and_sent_again",
        keys="test_studies_page.test_a_study_is_found_and_sent_again",
        plain="test_studies_page.test_without_script",
    ),
    SitePage(
        route="/holds/objects", addresses=("/holds/objects", "/holds/objects?state=discarded"), foreign=True,
        mouse="test_held_objects_page.test_a_study_is_routed_by_mouse",
        keys="test_held_objects_page.test_by_keys_and_a_slip_keeps_what_was_picked",
        plain="test_held_objects_page.test_without_script",
    ),
    SitePage(
        route="/holds/objects/{row:int}", addresses=("/holds/objects/1",), foreign=True,
        mouse="test_held_objects_page.test_a_study_is_routed_by_mouse", keys=EVERY_BY_KEYS, plain=EVERY_PLAIN,
    ),
    SitePage(
        route="/holds", addresses=("/holds",), foreign=True,
        mouse="test_holds.test_all_of_the_page_or_all_that_match",
        keys="test_holds.test_work_is_given_up_by_keys_and_a_slip_keeps_what_was_picked",
        plain="test_holds.test_work_is_tried_again_without_script",
    ),
    SitePage(
        route="/audit",
        addresses=("/audit", "/audit?since=x&action=user.added", "/audit?action=token.revoked"),
        foreign=True,
        mouse="test_audit_page.test_a_person_finds_what_was_done",
        keys="test_audit_page.test_by_keys_alone",
        plain="test_audit_page.test_without_script",
    ),
    SitePage(
        route="/users", addresses=("/users",), foreign=True,
        mouse="test_accounts.test_an_admin_adds_a_user_and_hands_over_a_link",
        keys="test_accounts.test_a_user_is_added_by_keys",
        plain="test_accounts.test_a_user_and_a_token_are_made_without_script",
    ),
    SitePage(
        route="/users/{user}", addresses=("/users/{user}",), foreign=True,
        mouse="test_accounts.test_an_admin_adds_a_user_and_hands_over_a_link",
        keys="test_accounts.test_a_user_is_added_by_keys",
        plain="test_accounts.test_a_user_and_a_token_are_made_without_script",
    ),
    SitePage(
        route="/tokens", addresses=("/tokens",),
        mouse="test_accounts.test_a_token_is_made_and_revoked_by_mouse",
        keys="test_accounts.test_a_token_is_made_and_revoked_by_keys",
        plain="test_accounts.test_a_user_and_a_token_are_made_without_script",
    ),
    SitePage(
        route="/settings", addresses=("/settings", "/settings?q=nothing+matches"),
        mouse="test_shell_parts.test_filters_change_the_address_and_keep_the_focus",
        keys="test_shell_parts.test_filters_change_the_address_and_keep_the_focus",
        plain="test_shell_parts.test_everything_works_without_script",
    ),
    SitePage(
        route="/help", addresses=("/help",),
        mouse="test_shell_parts.test_a_guide_is_found_and_read_by_mouse", keys=EVERY_BY_KEYS, plain=EVERY_PLAIN,
    ),
    SitePage(
        route="/help/{name}",
        addresses=("/help/operate", "/help/connect-a-modality", "/help/connect-a-ris", "/help/connect-a-pacs",
                   "/help/reference"),
        mouse="test_shell_parts.test_a_guide_is_found_and_read_by_mouse", keys=EVERY_BY_KEYS, plain=EVERY_PLAIN,
    ),
    SitePage(
        route="/retention", addresses=("/retention",),
        mouse=EVERY_BY_KEYS, keys=EVERY_BY_KEYS, plain=EVERY_PLAIN,
    ),
    SitePage(
        route="/conformance", addresses=("/conformance",),
        mouse=EVERY_BY_KEYS, keys=EVERY_BY_KEYS, plain=EVERY_PLAIN,
    ),
    SitePage(
        route="/api/docs", addresses=("/api/docs",),
        mouse="test_shell_parts.test_a_guide_is_found_and_read_by_mouse", keys=EVERY_BY_KEYS, plain=EVERY_PLAIN,
    ),
    SitePage(
        route="/search", addresses=("/search", "/search?q=operate", "/search?q=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E"),
        foreign=True,
        mouse="test_shell_parts.test_a_guide_is_found_and_read_by_mouse",
        keys="test_shell_parts.test_the_keyboard_reaches_the_content_and_finds_a_page",
        plain="test_shell_parts.test_everything_works_without_script",
    ),
    SitePage(
        route="/me", addresses=("/me",), foreign=True,
        mouse="test_accounts.test_a_person_ends_a_session_and_signs_out_everywhere_by_mouse",
        keys="test_accounts.test_a_password_is_changed_by_keys",
        plain="test_accounts.test_without_script_people_come_in_and_change_their_password",
    ),
    SitePage(
        route="/me/second-factor", addresses=("/me/second-factor",),
        mouse="test_accounts.test_a_second_factor_is_set_up_used_and_lost",
        keys="test_accounts.test_a_second_factor_is_set_up_used_and_lost",
        plain="test_accounts.test_a_role_that_asks_for_a_second_factor",
    ),
    SitePage(  # without a sign-in that has begun; the form for a code is walked by the tests that it names
        route="/sign-in/second-factor", addresses=("/sign-in/second-factor",), known=False,
        mouse="test_accounts.test_a_second_factor_is_set_up_used_and_lost",
        keys="test_accounts.test_a_second_factor_is_set_up_used_and_lost",
        plain="test_accounts.test_a_role_that_asks_for_a_second_factor",
    ),
    SitePage(
        route="/sign-in", addresses=("/sign-in", "/sign-in?next=/nodes"), known=False,
        mouse="test_accounts.test_a_new_broker_gets_its_first_admin_who_signs_out_and_in",
        keys="test_accounts.test_signing_in_by_keys_alone",
        plain="test_accounts.test_people_sign_in_and_out_without_script",
    ),
    SitePage(
        route="/first/{text}", addresses=("/first/used-or-made-up",), known=False,
        mouse="test_accounts.test_a_new_broker_gets_its_first_admin_who_signs_out_and_in",
        keys="test_new_user.test_from_an_empty_folder_to_an_answered_modality",
        plain="test_accounts.test_the_first_admin_is_made_without_script",
    ),
    SitePage(
        route="/invite/{text}", addresses=("{invitation}",), known=False,
        mouse="test_accounts.test_a_password_is_set_by_an_invitation",
        keys="test_accounts.test_a_password_is_set_by_an_invitation",
        plain="test_accounts.test_without_script_people_come_in_and_change_their_password",
    ),
)  # fmt: skip
NO_PAGES = {  # GET routes beside REST that give no HTML
    "/now/numbers": "JSON of the plots",
    "/audit/export": "a file",
    "/api/openapi.json": "the OpenAPI document",
    "/conformance/html": "a file",
    "/conformance/markdown": "a file",
}


def page_routes(app: FastAPI) -> list[Route]:
    """The routes of an application that serve people: those that OpenAPI does not name."""
    return [route for route in app.routes if isinstance(route, Route) and not route.include_in_schema]
