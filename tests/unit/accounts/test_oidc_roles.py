"""Which role a claim of an ID token gives."""

from __future__ import annotations

from typing import Any

import pytest

from broker.accounts.oidc_entry import role_of
from broker.accounts.roles import UserRole
from broker.settings.web import OidcRolesSection, OidcSection

ROLES = OidcRolesSection(admin=("broker-admins",), operator=("broker-operators",), viewer=("broker-viewers", "all"))


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["x", "broker-viewers", "broker-admins"]}, UserRole.ADMIN), ({"groups": "all"}, UserRole.VIEWER),
        ({"groups": [7, None, ["broker-admins"]]}, None), ({"groups": {"broker-admins": 1}}, None), ({}, None),
        ({"groups": "broker"}, None), ({"groups": []}, None),
    ],
)  # fmt: skip
def test_the_claim_gives_a_role(claims: dict[str, Any], role: UserRole | None) -> None:
    made = OidcSection(issuer="https://login.hospital.example", client_id="x", roles=ROLES)
    assert role_of(claims, made) == role
    assert role_of({"a": {"groups": ["all"]}}, made.model_copy(update={"role_claim": "a.groups"})) == UserRole.VIEWER
