"""Says in words what the codes of folders and DICOMweb services mean. They are made in `delivery.folder` and `.web`."""

from __future__ import annotations

import re

from broker.model.wording import Sentence

_CODES = {
    "folder-no-path": Sentence("a value is missing from which the name of its file is made"),
    "folder-long-path": Sentence("the name of its file would be too long"),
    "folder-name-taken": Sentence("something else stands where its folder or file has to be"),
    "folder-bad-name": Sentence("the file system does not take the name of its file"),
    "folder-other-case": Sentence("a folder is there whose name differs in upper and lower case only"),
    "folder-other-bytes": Sentence("a file of this name with other bytes is there"),
    "folder-large": Sentence("the file system takes no file so large"),
    "folder-there": Sentence("the same file was there already"),
    "folder-beside": Sentence("it was put beside a file of its name with other bytes"),
    "folder-replaced": Sentence("it took the place of a file with other bytes"),
    "folder-full": Sentence("the folder is full"),
    "folder-read-only": Sentence("the folder is read-only"),
    "folder-forbidden": Sentence("the broker may not write into the folder"),
    "folder-gone": Sentence("the folder is not there"),
    "folder-hangs": Sentence("the folder does not answer"),
    "stow-unclear": Sentence("its answer does not say whether it has the object"),
    "stow-failed": Sentence("it did not store it, and gives no reason"),
    "token-file": Sentence("the file with its token cannot be used"),
    "oauth-secret-file": Sentence("the file with the secret for a token cannot be used"),
    "oauth-tls-files": Sentence("the authorities of the server that gives tokens cannot be read"),
    "oauth-unreachable": Sentence("the server that gives tokens is not reached"),
    "oauth-refused": Sentence("the server that gives tokens does not take our credentials"),
    "oauth-failing": Sentence("the server that gives tokens has a fault"),
    "oauth-bad-answer": Sentence("the server that gives tokens gives none"),
}
# RFC 9110 chapter 15
_HTTP = {
    "400": Sentence("it does not understand the request"),
    "401": Sentence("it does not know who the broker is"),
    "403": Sentence("it does not let the broker in"),
    "404": Sentence("there is nothing at its url"),
    "405": Sentence("its url does not take objects"),
    "408": Sentence("it has waited too long"),
    "409": Sentence("it refuses the object"),
    "410": Sentence("there is nothing at its url"),
    "413": Sentence("the object is too large for it"),
    "415": Sentence("it does not take this kind of object or its encoding"),
    "429": Sentence("it is asked too often"),
    "503": Sentence("it is busy"),
    "507": Sentence("it has no room"),
}


def delivery_reason(code: str) -> Sentence | None:
    """What a code of a folder or a DICOMweb service means; None for a code of others."""
    if (known := _CODES.get(code)) is not None:
        return known
    if status := re.fullmatch(r"stow-(\d{3})", code):
        usual = Sentence("it leads elsewhere") if status[1][0] == "3" else Sentence("it gives no reason")
        why = Sentence("it has a fault") if status[1][0] == "5" else usual
        values = {"why": _HTTP.get(status[1], why), "code": status[1]}
        return Sentence("the archive does not take it: %(why)s (HTTP status %(code)s)", values)
    if code.startswith("folder-"):
        return Sentence("the folder has a fault (%(code)s)", {"code": code.removeprefix("folder-")})
    if code.startswith("oauth-"):
        return Sentence("no token can be had (%(code)s)", {"code": code.removeprefix("oauth-")})
    return None
