"""Serves what `broker doctor` finds of the machine, the settings and the database of the running broker."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from fastapi import APIRouter
from pydantic import BaseModel, Field

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import admin_router
from broker.model.check import CheckVerdict


class DoctorFindingView(BaseModel):
    """What a check found."""

    check: str
    verdict: CheckVerdict
    text: str
    next_step: str = Field(description="What to do; empty if nothing is to be done")


class DoctorReport(BaseModel):
    """All findings, in the words of the command; `bad` if one of them is."""

    bad: bool
    findings: list[DoctorFindingView]


def router(context: AdminContext) -> APIRouter:
    """The route /api/v1/doctor, for admins: findings name files and who can read them."""
    routes = admin_router("/api/v1/doctor", Right.SITE, tags=["status"])
    looking = asyncio.Lock()

    @routes.get("")
    async def doctor() -> DoctorReport:
        """Look at the machine, the settings and the database: `broker doctor`. One request at a time is served."""
        async with looking:
            findings = await asyncio.to_thread(context.examine)
        bad = any(finding.verdict is CheckVerdict.BAD for finding in findings)
        return DoctorReport(bad=bad, findings=[DoctorFindingView(**asdict(finding)) for finding in findings])

    return routes
