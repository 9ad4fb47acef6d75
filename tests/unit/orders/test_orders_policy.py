from __future__ import annotations

import tomllib
from importlib import resources

import pytest

from broker.errors import ConfigurationError
from broker.orders.mapping import parsing
from broker.orders.mapping.book import built_in

IHE = tomllib.loads((resources.files("broker.orders.mapping") / "ihe.toml").read_text(encoding="utf-8"))


def test_a_cancel_of_an_unknown_order_is_kept_unless_the_profile_says_otherwise() -> None:
    assert built_in().policy.unknown_order_cancel == "park"
    assert parsing.parse({k: v for k, v in IHE.items() if k != "policy"}).policy.unknown_order_cancel == "park"
    assert parsing.parse({**IHE, "policy": {"unknown_order_cancel": "refuse"}}).policy.unknown_order_cancel == "refuse"


@pytest.mark.parametrize("policy", [{"unknown_order_cancel": "keep"}, {"other": 1}, {"unknown_order_cancel": 1}, 3])
def test_a_wrong_policy_names_its_key(policy: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^mapping profile 'ihe': policy"):
        parsing.parse({**IHE, "policy": policy})
