"""Versions of mapping profiles: published only if every example passes, in force at once, rolled back."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, select
from structlog.testing import capture_logs

from broker.errors import ConfigurationError
from broker.hl7.header import read_header
from broker.orders import mapping_texts
from broker.orders.mapping.document import built_in_texts
from broker.orders.mapping_versions import ExamplesFailed, Mappings, read_file
from broker.store import configurations
from broker.store.db.database import Database
from broker.store.schema import tables

HEADER = read_header(b"MSH|^~\\&|RIS|SITE|B|R|||ORM^O01|1|P|2.5")
MESSAGE = """MSH|^~\\&|RIS|SITE|BROKER|RAD|202603120800||ORM^O01|1|P|2.5
PID|||1||DOE^J
ORC|NW|P1|||||^^^20260312100000
OBR|1|P1||CHEST^Chest||||||||||||||||||||SPIRAL"""


def text(
    name: str = "site", *, spiral: str = "CT", expected: str = "", extends: str = "ihe", claim: str = "RIS"
) -> str:
    """A profile that maps a local modality, with an example that expects it."""
    return f"""# a comment that is kept
name = "{name}"
extends = "{extends}"
[senders]
match = [{{ application = "{claim}" }}]
[values.Modality]
SPIRAL = "{spiral}"
[[example]]
name = "spiral"
message = '''
{MESSAGE}
'''
[example.expect]
Modality = "{expected or spiral}"
"""


def audit(connection: Connection) -> list[tuple[str, str, int, dict[str, str]]]:
    t = tables.audit.c
    rows = connection.execute(select(t.actor, t.action, t.object_id, t.detail).order_by(t.id))
    return [(row[0], row[1], row[2], json.loads(row[3])) for row in rows]


def chosen(found: Mappings) -> str:
    assert HEADER is not None
    return found.book.choose(HEADER).name


def test_a_published_profile_reads_the_next_message(database: Database) -> None:
    here = Mappings(database)
    choose = here.profiles("legacy-23")
    assert HEADER is not None
    assert choose(HEADER).name == "legacy-23"
    assert here.publish(text(), "api") == ("site", 1)
    assert choose(HEADER).name == "site"
    assert choose(HEADER).values["Modality"]["SPIRAL"] == "CT"
    assert here.publish(text(spiral="MR"), "cli:ann") == ("site", 2)
    assert choose(HEADER).values["Modality"]["SPIRAL"] == "MR"
    assert database.read(audit).result() == [
        ("api", "mapping.published", 1, {"kind": "mapping:site"}),
        ("cli:ann", "mapping.published", 2, {"kind": "mapping:site"}),
    ]


def test_what_is_in_force_just_so_makes_no_new_version(database: Database) -> None:
    here = Mappings(database)
    assert here.publish(text(), "api") == ("site", 1)
    assert here.publish(text(), "api") == ("site", 1)
    assert [entry.version for entry in here.history("site")] == [1]


def test_a_failing_example_publishes_nothing(database: Database) -> None:
    here = Mappings(database)
    with pytest.raises(ExamplesFailed) as failed:
        here.publish(text(expected="MR"), "api")
    assert failed.value.failures == ("example 'spiral': Modality: expected 'MR', got 'CT'",)
    with pytest.raises(ConfigurationError, match=r"mapping profile 'site': values\.Modality"):
        here.publish(text().replace('SPIRAL = "CT"', "SPIRAL = 1.5"), "api")
    assert database.read(mapping_texts.stored).result() == {}
    assert chosen(here) == "ihe"


def test_a_profile_that_others_extend_must_pass_their_examples_too(database: Database) -> None:
    here = Mappings(database)
    base = 'name = "base"\nextends = "ihe"\n[values.Modality]\nQ = "MR"\n'
    own = text(extends="base", expected="MR").replace('SPIRAL = "CT"', 'SPIRAL = "MR"')
    here.publish_all({"base.toml": base, "own.toml": own}, "api")
    broken = base.replace('[values.Modality]\nQ = "MR"', '[check]\nmodalities = ["CR"]')
    with pytest.raises(ExamplesFailed) as failed:
        here.publish(broken, "api")
    assert failed.value.failures[0].startswith("profile 'site': example 'spiral': findings: expected []")
    assert here.export("base") == base


def test_a_sender_belongs_to_one_profile(database: Database) -> None:
    here = Mappings(database)
    here.publish(text(), "api")
    with pytest.raises(ConfigurationError, match="'other': senders: claimed by 'site' too"):
        here.publish(text("other"), "api")
    assert here.publish(text("other", claim="RIS2"), "api") == ("other", 1)


def test_export_is_the_imported_text_with_its_comments(database: Database) -> None:
    here = Mappings(database)
    here.publish(text(), "api")
    here.publish(text(spiral="MR"), "api")
    assert here.export("site") == text(spiral="MR")
    assert here.export("site", 1) == text()
    assert here.export("ihe") == built_in_texts()["ihe"]
    assert here.publish(here.export("site", 1), "api") == ("site", 3)
    for name, version in (("nobody", None), ("site", 9), ("site", 0), ("ihe", 1)):
        with pytest.raises(ConfigurationError, match="no such profile"):
            here.export(name, version)


def test_history_says_when_and_by_whom_and_a_rollback_is_a_new_version(database: Database) -> None:
    here = Mappings(database)
    here.publish(text(), "api")
    here.publish(text(spiral="MR"), "cli:ann")
    assert here.rollback("site", 1, "cli:bob") == 3
    found = here.history("site")
    assert [(entry.version, entry.source) for entry in found] == [
        (3, "cli:bob, version 1 again"), (2, "cli:ann"), (1, "api")
    ]  # fmt: skip
    assert [entry.at for entry in found] == sorted((entry.at for entry in found), reverse=True)
    assert here.export("site") == text()
    assert here.book.named("site").values["Modality"]["SPIRAL"] == "CT"
    with pytest.raises(ConfigurationError, match="no such profile"):
        here.history("nobody")


def test_history_and_audit_say_on_whose_behalf_and_why(database: Database) -> None:
    here = Mappings(database)
    here.publish(text(), "api", author="Ann", reason="first")
    here.publish(text(spiral="MR"), "api")
    here.rollback("site", 1, "cli:bob", author="Ann", reason="was wrong")
    assert [(entry.source, entry.author, entry.reason) for entry in here.history("site")] == [
        ("cli:bob, version 1 again", "Ann", "was wrong"), ("api", "api", ""), ("api", "Ann", "first")
    ]  # fmt: skip
    details = [detail for _, _, _, detail in database.read(audit).result()]
    assert [(detail.get("author"), detail.get("reason")) for detail in details] == [
        ("Ann", "first"), (None, None), ("Ann", "was wrong")
    ]  # fmt: skip


def test_a_built_in_profile_is_hidden_by_one_of_its_name_and_comes_back(database: Database) -> None:
    here = Mappings(database)
    own = 'name = "ihe"\nextends = "ihe"\n[values.Modality]\nSPIRAL = "CT"\n'
    assert here.publish(own, "api") == ("ihe", 1)
    assert here.book.named("ihe-fr").values["Modality"]["SPIRAL"] == "CT"
    assert here.rollback("ihe", 0, "api") == 2
    assert "SPIRAL" not in here.book.named("ihe-fr").values["Modality"]
    assert [entry.version for entry in here.history("ihe")] == [2, 1, 0]


def test_the_list_shows_what_is_in_force(database: Database) -> None:
    here = Mappings(database)
    here.publish(text(), "cli:ann")
    found = {one.name: one for one in here.in_force()}
    assert list(found) == ["ihe", "ihe-fr", "legacy-23", "site"]
    assert (found["ihe"].version, found["ihe"].source, found["ihe"].senders) == (0, "built-in", ())
    site = found["site"]
    assert (site.version, site.source, site.senders, site.examples, site.extends) == (
        1, "cli:ann", ("RIS|*",), 1, "ihe"
    )  # fmt: skip


def test_other_processes_see_it_at_their_next_look(database: Database) -> None:
    here, there = Mappings(database), Mappings(database)
    assert chosen(there) == "ihe"
    here.publish(text(), "api")
    assert chosen(there) == "ihe"
    assert there.refresh()
    assert chosen(there) == "site"
    assert not there.refresh()


def test_a_stored_profile_that_cannot_be_read_changes_nothing_and_can_be_rolled_back(database: Database) -> None:
    here = Mappings(database)
    here.publish(text(), "api")
    assert chosen(here) == "site"
    broken = {"toml": 'name = "site"\nfrom_a_later_version = 1'}
    database.submit(configurations.add, "mapping:site", broken, source="later", at=1.0).result()
    with capture_logs() as logs:
        assert not here.refresh()
    assert [log["event"] for log in logs] == ["mapping.not_loaded"]
    assert chosen(here) == "site"
    again = Mappings(database)
    with pytest.raises(ConfigurationError, match="'site': from_a_later_version: unknown key"):
        _ = again.book
    assert Mappings(database).rollback("site", 1, "api") == 3
    assert chosen(again) == "site"


def test_two_who_publish_at_once_get_two_versions(database: Database) -> None:
    texts = [text(spiral=modality) for modality in ("CT", "MR", "US")]
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda one: Mappings(database).publish(one, "api"), texts))
    assert sorted(version for _, version in done) == [1, 2, 3]


# --- folder ------------------------------------------------------------------------------------------------


def test_the_first_start_imports_the_folder_and_later_ones_warn(database: Database, tmp_path: Path) -> None:
    own = text("own", extends="base")
    (tmp_path / "a.toml").write_text(own, encoding="utf-8")
    (tmp_path / "z.toml").write_text('name = "base"\nextends = "ihe"\n', encoding="utf-8")
    here = Mappings(database)
    here.first_import(tmp_path)
    assert chosen(here) == "own"
    assert [entry.source for entry in here.history("own")] == ["mapping folder"]
    (tmp_path / "a.toml").write_text(own + "# changed\n", encoding="utf-8")
    with capture_logs() as logs:
        Mappings(database).first_import(tmp_path)
    assert [(log["event"], log["kind"]) for log in logs] == [("mapping.differs", "own")]
    assert here.export("own") == own
    Mappings(database).first_import(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (text(expected="MR"), "expected 'MR', got 'CT'"), ("name = 1", r"a\.toml: name"), ("x", r"a\.toml: not valid"),
        ('name = "a"\npatient = 1', "'a': patient"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_folder_stops_the_start(
    content: str, message: str, database: Database, tmp_path: Path
) -> None:
    (tmp_path / "a.toml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        Mappings(database).first_import(tmp_path)
    assert database.read(mapping_texts.stored).result() == {}


def test_the_examples_of_the_configuration_are_good(database: Database) -> None:
    folder = Path(__file__).parents[2] / "config" / "mapping"
    here = Mappings(database)
    here.publish_all({str(file): read_file(file) for file in folder.glob("*.toml")}, "api")
    assert {one.name for one in here.in_force() if one.version} >= {"lilas", "site9"}
    for name in ("lilas", "site9"):
        assert here.export(name) == (folder / f"{name}.toml").read_text(encoding="utf-8")


def test_the_examples_of_the_configuration_are_not_put_in_force(database: Database) -> None:
    folder = Path(__file__).parents[2] / "config" / "mapping"
    with capture_logs() as logs:
        Mappings(database).first_import(folder)
    assert [one.name for one in Mappings(database).in_force() if one.version] == []
    assert [(log["event"], len(log["kind"].split())) for log in logs] == [
        ("mapping.samples", len(list(folder.glob("*.toml"))))
    ]


def test_a_sample_in_the_folder_is_left_out_and_only_that(database: Database, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text("own", extends="base"), encoding="utf-8")
    (tmp_path / "b.toml").write_text('name = "base"\nextends = "ihe"\n', encoding="utf-8")
    (tmp_path / "c.toml").write_text('name = "other"\nextends = "own"\nsample = true\n', encoding="utf-8")
    (tmp_path / "d.toml").write_text('name = "faulty"\nsample = true\npatient = 1\n', encoding="utf-8")
    here = Mappings(database)
    here.first_import(tmp_path)
    assert {one.name for one in here.in_force() if one.version} == {"own", "base"}
    here.publish((tmp_path / "c.toml").read_text(encoding="utf-8"), "api")  # a person may
    assert {one.name for one in here.in_force() if one.version} == {"own", "base", "other"}
    with pytest.raises(ConfigurationError, match="profile: sample: true or false"):
        here.publish('name = "x"\nextends = "ihe"\nsample = "yes"\n', "api")
