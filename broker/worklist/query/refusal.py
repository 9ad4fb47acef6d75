"""A key that cannot be read: the answer A900 names the element (PS3.4 table K.4-1, PS3.7 annex C.4.3)."""

from __future__ import annotations

from pydicom.datadict import tag_for_keyword

from broker.errors import BadContent


class BadKey(BadContent):
    """The value of a key cannot be used; `tag` is the Offending Element (0000,0901). The text holds no values."""

    def __init__(self, text: str, tag: int | str, *, code: str) -> None:
        """`tag` as a number or a keyword; `text` becomes the Error Comment, cut at 64 characters."""
        super().__init__(text[:64], code=code)
        self.tag = (tag_for_keyword(tag) or 0) if isinstance(tag, str) else tag
