"""Puts the conformance statement together from the sections of PS3.2's outline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from broker import __version__
from broker.conformance.facts import StatementFacts
from broker.conformance.sections import (
    annexes,
    associations,
    overview,
    parameters,
    security,
    services,
    status_codes,
)
from broker.conformance.statement import CONTENTS, ConformanceStatement, section
from broker.settings import Settings
from broker.site.nodes import Node

PRODUCT = "Worklist broker"


def statement_now(settings: Settings, nodes: Sequence[Node]) -> ConformanceStatement:
    """The statement with these settings and nodes, dated by the clock of the site."""
    return statement_of(StatementFacts(settings, nodes), datetime.now(settings.zone()).date())


def statement_of(facts: StatementFacts, today: date) -> ConformanceStatement:
    """The statement of this version with the configuration in force. Section numbers stay, used or not."""
    return ConformanceStatement(
        product=PRODUCT,
        version=__version__,
        ae_title=facts.title,
        made_on=today.isoformat(),
        sections=(
            overview.overview(facts),
            section("2", "Table of contents", CONTENTS),
            overview.introduction(__version__),
            overview.model(facts),
            services.made(facts),
            parameters.made(facts),
            section("7", "Network and media communication details", *associations.made(facts), status_codes.made()),
            security.made(facts),
            annexes.made(facts),
        ),
    )
