"""The guide's table of what is deleted when has every key of retention, with its default."""

from __future__ import annotations

import re
from pathlib import Path

from broker.settings.sections import RetentionSection

GUIDE = Path(__file__).parents[2] / "config" / "operate.md"


def test_the_table_says_what_the_settings_do() -> None:
    rows = re.findall(r"^\|[^|]+\| (never|\d+) \| `(\w+_days)` \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    told = [(key, 0 if days == "never" else int(days)) for days, key in rows]
    assert told == list(RetentionSection().model_dump().items())
