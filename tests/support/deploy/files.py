"""Finds and parses the files of `deploy/`, and the names of metrics in PromQL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from support.tree import ROOT

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "broker.json"
RUNBOOK = DEPLOY / "RUNBOOK.md"


def documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    [rules] = documents(RULES)
    return {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}


def metric_names(expression: str) -> set[str]:
    """Names of metrics in PromQL; those of Prometheus itself and of variables are left out."""
    bare = re.sub(r'"[^"]*"', "", expression)
    return set(re.findall(r"\b((?:broker|process|python)_\w+)\b(?!\s*=)", bare))


def exported(registry: CollectorRegistry, more: set[str]) -> set[str]:
    """Names of series that a registry declares, also of those that have no sample yet, and `more`."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    declared = {
        metric.name + suffix for metric in registry.collect() for suffix in suffixes.get(metric.type, ("", "_info"))
    }
    return declared | more
