"""The compose file: each service as closed as it can be, files and names that exist, the PACS of the site file."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
from compose_spec import PyCompose
from support.deploy.files import DEPLOY, documents
from support.peers.tools import tool

from broker import __version__
from broker.settings import load

FOLDER = DEPLOY / "compose"
[COMPOSE] = documents(FOLDER / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BROKER = SERVICES["broker"]
TEXT = (FOLDER / "compose.yaml").read_text(encoding="utf-8")


def check(text: str) -> None:
    """Check a file by the compose specification. Raises ValueError."""
    PyCompose.from_yaml(text).validate()


def test_it_is_as_the_compose_specification_says() -> None:
    check(TEXT)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("read_only: true", "readonly: true", "readonly"),
        ("restart: unless-stopped", "restart: sometimes", "sometimes"),
        ("condition: service_healthy", "condition: service_fine", "service_fine"),
        ("retries: 12", "retrys: 12", "retrys"),
        ("stop_grace_period: 60s", "stop_grace_period: soon", "soon"),
        ("networks: [watch]", "networks: [outside]", "outside"),
        ("internal: true", "internl: true", "internl"),
    ],
)
def test_a_mistake_in_it_would_be_found(old: str, new: str, told: str) -> None:
    assert old in TEXT
    with pytest.raises(ValueError, match=told):
        check(TEXT.replace(old, new, 1))


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_closed(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "network_mode"}
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", service["image"]), "a whole version"
    assert service["restart"] == "unless-stopped"


def test_it_is_those_services() -> None:
    assert SERVICES.keys() == {"broker", "database", "pacs", "prometheus", "grafana"}
    assert set(COMPOSE) == {"name", "x-limited-log", "services", "networks", "volumes"}


def test_networks_volumes_and_services_that_are_named_exist() -> None:
    for service in SERVICES.values():
        assert set(service["networks"]) <= COMPOSE["networks"].keys()
        assert set(service.get("depends_on", ())) <= SERVICES.keys()
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (FOLDER / source).is_file(), volume
                assert volume.endswith(":ro"), volume
            else:
                assert source in COMPOSE["volumes"], volume


def test_the_broker_keeps_its_data_and_nothing_else() -> None:
    assert BROKER["read_only"] is True
    assert BROKER["user"] == "10001:10001"
    assert BROKER["init"] is True
    assert "broker-data:/data" in BROKER["volumes"]
    assert int(BROKER["stop_grace_period"].rstrip("s")) >= 30
    assert BROKER["image"] == f"worklist-broker:{__version__}"
    assert (FOLDER / BROKER["build"]["context"] / BROKER["build"]["dockerfile"]).is_file()
    assert BROKER["depends_on"] == {"database": {"condition": "service_healthy"}}


def test_the_web_is_not_open_to_the_network() -> None:
    outside = [port for s in SERVICES.values() for port in s.get("ports", ()) if not port.startswith("127.0.0.1:")]
    assert outside == ["11112:11112", "2575:2575"]


def test_each_variable_stands_in_the_example_and_passwords_are_asked_for() -> None:
    given = set(re.findall(r"^(\w+)=", (FOLDER / "env.example").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+)", TEXT)) == given
    assert all(":?" in use for use in re.findall(r"\$\{\w+PASSWORD[^}]*\}", TEXT))


def test_the_environment_is_settings_that_the_broker_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = dict(volume.split(":")[1::-1] for volume in BROKER["volumes"])
    for name, value in BROKER["environment"].items():
        inside = re.sub(r"\$\{\w+(?::[-?][^}]*)?\}", "UTC", value)
        monkeypatch.setenv(name, str(FOLDER / mounts[inside]) if inside in mounts else inside)
    settings = load(None)
    assert settings.database.url == "postgresql+psycopg://broker:UTC@database/broker"
    assert settings.service.site == FOLDER / "site.toml"
    assert BROKER["environment"]["BROKER_BACKUP__FOLDER"] in mounts
    assert settings.backup.verify


def test_orthanc_is_the_pacs_of_the_site_file() -> None:
    orthanc = json.loads((FOLDER / "orthanc.json").read_text(encoding="utf-8"))
    site = (FOLDER / "site.toml").read_text(encoding="utf-8")
    assert f'ae_title = "{orthanc["DicomAet"]}"' in site
    assert f"port = {orthanc['DicomPort']}\n" in site
    assert 'host = "pacs"\n' in site
    settings = load(None)
    known = orthanc["DicomModalities"]["broker"]
    assert (known["AET"], known["Port"], known["Host"]) == (settings.dicom.ae_title, settings.dicom.port, "broker")


def test_prometheus_reads_the_rules_and_the_broker() -> None:
    checked = subprocess.run(
        [tool("promtool"), "check", "config", "--syntax-only", FOLDER / "prometheus.yml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    [config] = documents(FOLDER / "prometheus.yml")
    assert config["rule_files"] == ["/etc/prometheus/alerts.yml"]
    assert "../prometheus/alerts.yml:/etc/prometheus/alerts.yml:ro" in SERVICES["prometheus"]["volumes"]
    [job] = config["scrape_configs"]
    assert (job["job_name"], job["static_configs"]) == ("broker", [{"targets": ["broker:8080"]}])


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    [sources], [boards] = documents(FOLDER / "grafana-datasource.yaml"), documents(FOLDER / "grafana-dashboards.yaml")
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"
    shared = set(SERVICES["grafana"]["networks"]) & set(SERVICES["prometheus"]["networks"])
    assert shared
    folder = boards["providers"][0]["options"]["path"]
    assert f"../grafana/broker.json:{folder}/broker.json:ro" in SERVICES["grafana"]["volumes"]
