"""Lists all packages that this installation runs with, as a CycloneDX bill of materials (OWASP ASVS 5.0 §15.1.2).

It tells what is installed here and now, so that a scanner of weaknesses can be fed with it without a network.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distribution, distributions
from typing import Any

DISTRIBUTION = "worklist-broker"
SPEC_VERSION = "1.5"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def inventory() -> dict[str, Any]:
    """The bill of materials: the broker, and each package beside it, sorted by name."""
    broker = distribution(DISTRIBUTION)
    direct = _needed(broker)
    found = {_plain(package.metadata["Name"]): package for package in distributions() if package.metadata["Name"]}
    others = [found[name] for name in sorted(found) if name != DISTRIBUTION]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {"component": {**_component(broker), "type": "application"}},
        "components": [_component(package) for package in others],
        "dependencies": [
            {"ref": _purl(broker), "dependsOn": [_purl(found[name]) for name in sorted(direct & found.keys())]}
        ],
    }


def _component(package: Distribution) -> dict[str, Any]:
    name, purl = _plain(package.metadata["Name"]), _purl(package)
    return {"type": "library", "bom-ref": purl, "name": name, "version": package.version, "purl": purl}


def _purl(package: Distribution) -> str:
    """Its name as scanners know it (package-url, type pypi)."""
    return f"pkg:pypi/{_plain(package.metadata['Name'])}@{package.version}"


def _plain(name: str) -> str:
    """The normalized name of a package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(package: Distribution) -> set[str]:
    """The names of packages that one requires, without those of its extras."""
    lines = [line for line in package.requires or () if "extra ==" not in line]
    return {_plain(match[0]) for line in lines if (match := _NAME.match(line))}
