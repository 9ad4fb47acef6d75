"""Says in words what the codes of folders, DICOMweb services and buckets mean. `delivery` makes them."""

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
    "s3-there": Sentence("the same object was there already"),
    "s3-other-bytes": Sentence("something else of this name is in the bucket"),
    "s3-unclear": Sentence("its answer does not say whether it has the object"),
    "s3-no-keys": Sentence("no access key is named, and the environment of the broker has none"),
    "s3-secret-file": Sentence("the file with its secret key cannot be used"),
    "s3-no-look": Sentence("it does not say whether an object is there: the access key may not read"),
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
# Amazon S3 API Reference, Error responses; MinIO
_S3 = {
    "AccessDenied": Sentence("the access key may not write into the bucket"),
    "InvalidAccessKeyId": Sentence("it does not know the access key"),
    "SignatureDoesNotMatch": Sentence("the secret key is wrong"),
    "ExpiredToken": Sentence("the access key has expired"),
    "InvalidToken": Sentence("it does not take the session token"),
    "RequestTimeTooSkewed": Sentence("its clock and ours differ by too much"),
    "AuthorizationHeaderMalformed": Sentence("the region is not that of the bucket"),
    "NoSuchBucket": Sentence("the bucket is not there"),
    "InvalidBucketName": Sentence("the name of the bucket is wrong"),
    "PermanentRedirect": Sentence("the bucket has another address"),
    "TemporaryRedirect": Sentence("the bucket has another address"),
    "SlowDown": Sentence("it is asked too often"),
    "TooManyRequests": Sentence("it is asked too often"),
    "ServiceUnavailable": Sentence("it is busy"),
    "QuotaExceeded": Sentence("it has no room"),
    "XMinioStorageFull": Sentence("it has no room"),
    "XMinioAdminBucketQuotaExceeded": Sentence("it has no room"),
    "InsufficientStorage": Sentence("it has no room"),
    "EntityTooLarge": Sentence("the object is too large for it"),
    "KeyTooLongError": Sentence("the name of the object would be too long"),
    "XMinioInvalidObjectName": Sentence("it does not take the name of the object"),
    "BadDigest": Sentence("the object was changed on its way"),
    "XAmzContentSHA256Mismatch": Sentence("the object was changed on its way"),
    "IncompleteBody": Sentence("a part of the object was lost on its way"),
    "RequestTimeout": Sentence("it has waited too long"),
    "InternalError": Sentence("it has a fault"),
    "NoSuchUpload": Sentence("it has lost the parts of the object"),
    "InvalidPart": Sentence("it has lost the parts of the object"),
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


_NO_REASON = Sentence("it gives no reason")


def delivery_reason(code: str) -> Sentence | None:
    """What a code of a folder, a DICOMweb service or a bucket means; None for a code of others."""
    if (known := _CODES.get(code)) is not None:
        return known
    if status := re.fullmatch(r"stow-(\d{3})", code):
        usual = Sentence("it leads elsewhere") if status[1][0] == "3" else _NO_REASON
        why = Sentence("it has a fault") if status[1][0] == "5" else usual
        values = {"why": _HTTP.get(status[1], why), "code": status[1]}
        return Sentence("the archive does not take it: %(why)s (HTTP status %(code)s)", values)
    if stored := re.fullmatch(r"s3-([A-Za-z0-9]+)", code):
        status = re.fullmatch(r"[1-5]\d\d", stored[1])
        usual = _HTTP.get(stored[1], _S3["InternalError"] if status and stored[1][0] == "5" else _NO_REASON)
        values = {"why": _S3.get(stored[1], usual), "code": stored[1]}
        if status:
            return Sentence("the storage does not take it: %(why)s (HTTP status %(code)s)", values)
        return Sentence("the storage does not take it: %(why)s (%(code)s)", values)
    if code.startswith("folder-"):
        return Sentence("the folder has a fault (%(code)s)", {"code": code.removeprefix("folder-")})
    if code.startswith("oauth-"):
        return Sentence("no token can be had (%(code)s)", {"code": code.removeprefix("oauth-")})
    return None
