"""Serves the static files from memory, each under the hash of its content, so that browsers keep them for a year."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from broker.admin.problems import Problem

FOREVER = "public, max-age=31536000, immutable"  # RFC 8246
_FOLDER = Path(__file__).parents[1] / "static"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Assets:
    """All files of `static/`, read at the start. No path of a request reaches the file system."""

    def __init__(self) -> None:
        """Raises KeyError for a file of a kind that no page uses."""
        self._files = {file.name: file.read_bytes() for file in sorted(_FOLDER.iterdir())}
        self._kinds = {name: _KINDS[Path(name).suffix] for name in self._files}
        self._hashes = {name: hashlib.sha256(content).hexdigest()[:16] for name, content in self._files.items()}

    def url(self, name: str) -> str:
        """Where a page finds a file; raises KeyError for one that is not there."""
        return f"/static/{name}?v={self._hashes[name]}"

    async def answer(self, request: Request) -> Response:
        """The file that a request names; for ever if it names its hash too. Raises Problem."""
        name = request.path_params["name"]
        if name not in self._files:
            raise Problem(404, "")
        known = request.query_params.get("v") == self._hashes[name]
        headers = {"Cache-Control": FOREVER if known else "no-cache"}
        return Response(self._files[name], media_type=self._kinds[name], headers=headers)
