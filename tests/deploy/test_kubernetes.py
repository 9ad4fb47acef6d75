"""The objects for Kubernetes: probes, drain, addresses of callers, a volume that stays, and closed containers."""

from __future__ import annotations

import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml
from support.deploy.files import DEPLOY, documents
from support.peers.tools import tool
from support.service.program import run

from broker import __version__
from broker.settings import load

FOLDER = DEPLOY / "kubernetes"
[KUSTOMIZATION] = documents(FOLDER / "kustomization.yaml")
OBJECTS = [document for file in KUSTOMIZATION["resources"] for document in documents(FOLDER / file)]
LABELS = {"app.kubernetes.io/name": "worklist-broker"}


def of(kind: str, name: str) -> dict[str, Any]:
    [found] = [each for each in OBJECTS if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


SET: dict[str, Any] = of("StatefulSet", "broker")["spec"]
POD: dict[str, Any] = SET["template"]["spec"]
[CONTAINER] = POD["containers"]
VERSIONS = {
    "Namespace": "v1", "Service": "v1", "StatefulSet": "apps/v1", "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
}  # fmt: skip


def test_every_file_is_applied_and_every_object_has_its_version() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"} == set(KUSTOMIZATION["resources"])
    assert {each["kind"]: each["apiVersion"] for each in OBJECTS} == VERSIONS
    assert KUSTOMIZATION["images"] == [{"name": CONTAINER["image"], "newTag": __version__}]


def test_kustomize_makes_the_same_objects_in_one_namespace() -> None:
    made = subprocess.run(
        [tool("kubectl"), "kustomize", FOLDER], capture_output=True, text=True, timeout=60, check=False
    )
    assert made.returncode == 0, made.stderr
    objects = list(yaml.safe_load_all(made.stdout))
    assert sorted(each["kind"] for each in objects) == sorted([*(each["kind"] for each in OBJECTS), "ConfigMap"])
    spaces = {each["metadata"].get("namespace") for each in objects if each["kind"] != "Namespace"}
    assert spaces == {KUSTOMIZATION["namespace"]}
    [[image]] = [
        [container["image"] for container in each["spec"]["template"]["spec"]["containers"]]
        for each in objects
        if each["kind"] == "StatefulSet"
    ]
    assert image == f"worklist-broker:{__version__}"
    [site] = [each for each in objects if each["kind"] == "ConfigMap"]
    assert site["data"].keys() == {"site.toml"}


SCHEMAS = ("1.30.0", kubernetes_validate.latest_version())  # the least that the runbook names, and the newest known


def check(text: str) -> int:
    """Check a file by all schemas; how many objects it has. Raises ValidationError."""
    objects = [document for document in yaml.safe_load_all(text) if document]
    for version in SCHEMAS:
        for each in objects:
            kubernetes_validate.validate(each, version, strict=True)
    return len(objects)


@pytest.mark.parametrize("file", KUSTOMIZATION["resources"])
def test_each_object_is_as_the_schemas_of_kubernetes_say(file: str) -> None:
    assert check((FOLDER / file).read_text(encoding="utf-8")) > 0


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("statefulset.yaml", "terminationGracePeriodSeconds: 90", "terminationGraceSeconds: 90"),
        ("statefulset.yaml", "replicas: 1", "replicas: one"),
        ("statefulset.yaml", "readOnlyRootFilesystem", "readOnlyRootFileSystem"),
        ("statefulset.yaml", "sleep: {seconds: 10}", "sleep: {second: 10}"),
        ("statefulset.yaml", "serviceName: broker-pods", "service: broker-pods"),
        ("services.yaml", "externalTrafficPolicy", "externalTraffic"),
        ("network-policy.yaml", "ipBlock", "ipRange"),
    ],
)
def test_a_mistake_in_it_would_be_found(file: str, old: str, new: str) -> None:
    text = (FOLDER / file).read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(kubernetes_validate.ValidationError):
        check(text.replace(old, new, 1))


def test_selectors_meet_the_pods() -> None:
    assert SET["selector"]["matchLabels"] == LABELS
    assert SET["template"]["metadata"]["labels"].items() >= LABELS.items()
    assert all(each["spec"]["selector"] == LABELS for each in OBJECTS if each["kind"] == "Service")
    assert of("PodDisruptionBudget", "broker")["spec"]["selector"]["matchLabels"] == LABELS
    assert of("NetworkPolicy", "broker")["spec"]["podSelector"]["matchLabels"] == LABELS
    assert of("Service", SET["serviceName"])["spec"]["clusterIP"] == "None"


def test_the_volume_outlives_everything() -> None:
    assert SET["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    claims = {claim["metadata"]["name"]: claim["spec"]["accessModes"] for claim in SET["volumeClaimTemplates"]}
    assert claims == {"data": ["ReadWriteOnce"], "backup": ["ReadWriteOnce"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert (mounts["data"], mounts["backup"]) == ("/data", "/backup")
    assert mounts.keys() == claims.keys() | {volume["name"] for volume in POD["volumes"]}
    assert SET["replicas"] == 1  # the spool belongs to one broker


def test_probes_ask_what_the_broker_answers() -> None:
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    settings = load(None)
    assert ports == {"dicom": settings.dicom.port, "hl7": settings.hl7.port, "web": settings.web.port}
    asked = {probe: CONTAINER[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    live, ready = ({"path": f"/health/{name}", "port": "web"} for name in ("live", "ready"))
    assert asked == {"startup": live, "liveness": live, "readiness": ready}
    startup = CONTAINER["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 120


def test_a_stop_drains_first() -> None:
    waits = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert waits >= 10
    assert POD["terminationGracePeriodSeconds"] >= waits + 30
    assert of("PodDisruptionBudget", "broker")["spec"]["maxUnavailable"] == 1


def test_callers_keep_their_addresses() -> None:
    wires = of("Service", "broker-wires")["spec"]
    assert (wires["type"], wires["externalTrafficPolicy"]) == ("LoadBalancer", "Local")
    assert wires["sessionAffinity"] == "ClientIP"
    assert {port["name"] for port in wires["ports"]} == {"dicom", "hl7"}
    assert of("Service", "broker-web")["spec"]["type"] == "ClusterIP"


def test_containers_are_closed() -> None:
    """What the level `restricted` of Pod Security asks for, and a file system that cannot be written."""
    assert (
        of("Namespace", "worklist-broker")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    )
    pod, own = POD["securityContext"], CONTAINER["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] == pod["fsGroup"] == 10001
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["fsGroupChangePolicy"] == "OnRootMismatch"
    assert own == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert POD["automountServiceAccountToken"] is False
    limits, requests = CONTAINER["resources"]["limits"], CONTAINER["resources"]["requests"]
    assert limits == {"memory": requests["memory"]}


def test_the_network_is_closed_both_ways() -> None:
    policy = of("NetworkPolicy", "broker")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule["from"] and rule["ports"] for rule in policy["ingress"])
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == {"dicom", "hl7", "web"}
    assert all(rule["to"] for rule in policy["egress"])


@pytest.mark.parametrize("folder", ["kubernetes", "compose"])
def test_the_site_file_is_good(folder: str) -> None:
    checked = run("site", "check", DEPLOY / folder / "site.toml", folder=DEPLOY)
    assert checked.returncode == 0, checked.stdout + checked.stderr
