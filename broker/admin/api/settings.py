"""Serves `/api/v1/settings`: every key of `broker.toml` in force with its source. Secrets are masked."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from pydantic import BaseModel

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import admin_router
from broker.settings.origins import KeySource


class SettingView(BaseModel):
    """A key like `web.port`. `value` is text; that of a secret is stars if it is set."""

    key: str
    value: str
    source: KeySource
    meaning: str


def router(context: AdminContext) -> APIRouter:
    """The route, for who may change the site."""
    routes = admin_router("/api/v1/settings", Right.SITE, tags=["settings"])

    @routes.get("")
    def settings() -> list[SettingView]:
        """List the keys in force, in the order of the sections."""
        return [SettingView(**asdict(key)) for key in context.settings.in_force()]

    return routes
