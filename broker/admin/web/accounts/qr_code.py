"""Draws a QR code as the path of an SVG, which a template puts in place: nothing is loaded, no style is needed."""

from __future__ import annotations

from dataclasses import dataclass

import segno

BORDER = 4  # modules of white around it (ISO/IEC 18004 §5.3.8)


@dataclass(frozen=True, slots=True)
class QrCode:
    """A QR code: the side with its border, in modules, and the dark ones as a path."""

    side: int
    path: str


def qr_code(text: str) -> QrCode:
    """The code of a text, at the level of correction M."""
    matrix = segno.make(text, error="m", micro=False, boost_error=False).matrix
    dark = (
        f"M{x + BORDER} {y + BORDER}h1v1h-1z" for y, row in enumerate(matrix) for x, module in enumerate(row) if module
    )
    return QrCode(len(matrix) + 2 * BORDER, "".join(dark))
