"""The bill of materials names what is installed, with its version, in a form that scanners read."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import distributions

from support.service import program
from support.tree import ROOT

from broker.service.doctor.inventory import inventory


def test_every_installed_package_is_listed_once_with_its_version() -> None:
    made = inventory()
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.5")
    assert made["metadata"]["component"]["name"] == "worklist-broker"
    listed = {one["name"]: one["version"] for one in made["components"]}
    assert len(listed) == len(made["components"])
    plain = {re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(): one.version for one in distributions()}
    assert listed == {name: version for name, version in plain.items() if name != "worklist-broker"}
    for one in made["components"]:
        assert one["purl"] == one["bom-ref"] == f"pkg:pypi/{one['name']}@{one['version']}"


def test_what_the_broker_needs_itself_is_what_its_project_says() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {
        re.split(r"[\[<>=~ ,;]", line)[0].replace("_", "-").lower() for line in document["project"]["dependencies"]
    }
    (told,) = inventory()["dependencies"]
    assert {name.removeprefix("pkg:pypi/").partition("@")[0] for name in told["dependsOn"]} == needed


def test_the_command_prints_it(tmp_path: object) -> None:
    done = program.run("inventory", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == inventory()
