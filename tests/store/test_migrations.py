"""The schema that migrations make is the schema that `store.schema.tables` declares, on both databases."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, column, delete, insert, inspect, select, table, text, update
from support.worklist.worklist import document
from support.worklist.worklist_rows import insert_documents

from broker.dicom.dataset.folding import fold_for_search
from broker.errors import ConfigurationError
from broker.store.db import migrate
from broker.store.db.database import Database
from broker.store.db.engine import open_engine
from broker.store.images import instances
from broker.store.orders.saving import name_groups
from broker.store.schema import tables
from broker.store.schema.tables import METADATA

SCRIPTS = Path(migrate.__file__).parent / "migrations" / "versions"
HEAD = max(path.name[1:5] for path in SCRIPTS.glob("v*.py"))


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    """An engine on an empty database."""
    made = open_engine(empty_database_url)
    yield made
    made.dispose()


def revision(engine: Engine) -> Any:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def test_an_empty_database_becomes_what_the_tables_say(engine: Engine) -> None:
    assert migrate.upgrade(engine) is True
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []


def test_partial_indexes_carry_their_conditions(engine: Engine) -> None:
    """compare_metadata does not look at them; without one every finished job would stay in the claim index."""
    migrate.upgrade(engine)
    with engine.connect() as connection:
        found = {index["name"]: index for table in METADATA.tables for index in inspect(connection).get_indexes(table)}
        for table in METADATA.tables.values():
            for index in table.indexes:
                wanted = index.dialect_options[engine.dialect.name]["where"]
                real = found[index.name].get("dialect_options", {}).get(f"{engine.dialect.name}_where")
                assert (wanted is None) == (real is None), index.name
                assert found[index.name]["unique"] == index.unique


def test_a_second_upgrade_does_nothing(engine: Engine) -> None:
    migrate.upgrade(engine)
    before = revision(engine)
    assert migrate.upgrade(engine) is False
    assert revision(engine) == before == HEAD


def test_opening_again_keeps_the_data(empty_database_url: str) -> None:
    first = Database(empty_database_url)
    assert first.migrated
    row = text("INSERT INTO lane (name, failures, open_until, last_error) VALUES ('x', 1, 2.0, 'y')")
    first.submit(lambda connection: connection.execute(row) and None)
    first.close()
    second = Database(empty_database_url)
    assert not second.migrated
    rows = second.read(lambda connection: connection.execute(text("SELECT name FROM lane")).scalars().all())
    assert rows.result(10) == ["x"]
    second.close()


def test_objects_of_the_first_schema_stay_as_they_are(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their data set is in a file, so they have no content; small ones that come after the upgrade have."""
    real = command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(migrate.command, "upgrade", lambda config, _: real(config, "0001"))
        migrate.upgrade(engine)
    assert revision(engine) == "0001"
    values: dict[str, Any] = dict.fromkeys(instances.NewInstance.__slots__, "1.2")
    for later in ("content", "discarded_at"):
        del values[later]
    values |= {"version": 1, "path": "20260312/10/a.dcm", "data_offset": 330, "data_length": 4}
    values |= {"digest": b"x", "received_at": 1.0, "rules_version": 1}
    with engine.begin() as connection:
        first = table("instance", *map(column, values))
        connection.execute(insert(first), [values, values | {"state": "discarded", "sop_instance_uid": "1.3"}])
    before = time.time()
    assert migrate.upgrade(engine) is True
    with engine.connect() as connection:
        (old,) = instances.stored(connection, [1]).values()
        assert (old.path, old.data_offset, old.data_length, old.content) == ("20260312/10/a.dcm", 330, 4, None)
        query = select(tables.instance.c.discarded_at).order_by(tables.instance.c.id)
        kept, since = connection.execute(query).scalars()
        assert kept == 0
        assert since >= before  # a discard of before is kept as long as one of today


def test_names_with_strokes_are_found_after_the_upgrade(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revision 0019 had the letters in the column as they were."""
    real = command.upgrade
    with monkeypatch.context() as patch:
        patch.setattr(migrate.command, "upgrade", lambda config, _: real(config, "0019"))
        migrate.upgrade(engine)
    before = {"WAŁĘSA^Lech": "wałesa^lech", "DOE=Ħ": "doe=ħ", "JONES": "jones", "Łódź=Ø=ł": "łodz=ø=ł"}
    step, further = tables.scheduled_step, tables.step_name
    with engine.begin() as connection:
        insert_documents(connection, [document(PatientName=name) for name in before])
        connection.execute(delete(further))
        for row, name in enumerate(before.values(), 1):
            connection.execute(update(step).where(step.c.id == row).values(patient_name=name))
            for words in name_groups(name):
                connection.execute(insert(further).values(step=row, words=words))
    assert migrate.upgrade(engine) is True
    with engine.connect() as connection:
        columns = select(step.c.patient_name, step.c.revision).order_by(step.c.id)
        found = [tuple(row) for row in connection.execute(columns)]
        assert found == [("walesa^lech", 2), ("doe=h", 2), ("jones", 1), ("lodz=o=l", 2)]
        assert [name for name, _ in found] == [fold_for_search(name) for name in before]
        words = select(further.c.step, further.c.words).order_by(further.c.step, further.c.words)
        assert [tuple(row) for row in connection.execute(words)] == [(2, "h"), (4, "l"), (4, "o")]


def test_a_newer_database_is_refused_and_left_alone(empty_database_url: str, engine: Engine) -> None:
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer"):
        Database(empty_database_url)
    assert revision(engine) == "9999"
    with engine.begin() as connection:  # no lock is left behind
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{HEAD}'"))
    Database(empty_database_url).close()


def test_a_migration_that_fails_leaves_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(config: Any, target: str) -> None:
        config.attributes["connection"].exec_driver_sql("CREATE TABLE half (id INTEGER)")
        raise RuntimeError("power cut")

    monkeypatch.setattr(migrate.command, "upgrade", half)
    with pytest.raises(RuntimeError):
        migrate.upgrade(engine)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    monkeypatch.undo()
    assert migrate.upgrade(engine) is True


_UPGRADE = """
import sys
from broker.store.db import migrate
from broker.store.db.engine import open_engine
from broker.store.images import instances
from broker.store.orders.saving import name_groups
from broker.store.schema import tables
engine = open_engine(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(migrate.upgrade(engine))
"""


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)  # on SQLite the data directory is locked
def test_two_processes_that_start_at_once_migrate_once(empty_database_url: str) -> None:
    command = [sys.executable, "-c", _UPGRADE, empty_database_url]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    results = [process.communicate(timeout=30)[0].strip() for process in both]
    assert sorted(results) == ["False", "True"]


def test_a_path_with_a_percent_sign_is_no_template(tmp_path: Path) -> None:
    folder = tmp_path / "100%(done)s"
    database = Database(f"sqlite:///{folder / 'broker.db'}")
    database.close()
    assert (folder / "broker.db").is_file()


def test_the_history_is_one_line() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    script = ScriptDirectory.from_config(config)
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_foreign_keys_are_enforced(database: Database) -> None:
    def orphan(connection: Connection) -> None:
        connection.execute(text("INSERT INTO step_station (step, ae_title, start_at) VALUES (999, 'CT1', '')"))

    assert database.submit(orphan).exception(10) is not None
