"""Signs requests to S3-compatible storage by AWS Signature Version 4, their content included.

The signature is botocore's. It is imported with the first request: a broker without such a node does without it.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path

from broker.errors import PeerFault
from broker.site.tables.s3 import S3

SECRET_MOST = 4096  # bytes of a file with a secret
_KEY = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class AccessKeys:
    """Who we are to the storage. `token`: of a session, empty for none."""

    access_key: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)


def keys_of(table: S3, base: Path) -> AccessKeys:
    """The keys of a node, read anew at each use; relative paths count from `base`. Blocks. Raises PeerFault.

    A node that names none has those of the environment, as the tools of AWS have.
    """
    if table.access_key is None or table.secret_key_file is None:
        named = [os.environ.get(f"AWS_{name}", "") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")]
        if not named[0] or not named[1]:
            raise PeerFault("the environment has no keys", code="s3-no-keys")
        return AccessKeys(*named)
    try:
        with (base / table.secret_key_file).open("rb") as file:
            secret = file.read(SECRET_MOST + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise PeerFault("the file with the secret key cannot be read", code="s3-secret-file") from None
    if not _KEY.fullmatch(secret) or len(secret) > SECRET_MOST:
        raise PeerFault("the file with the secret key has none", code="s3-secret-file")
    return AccessKeys(table.access_key, secret)


def signed(
    method: str, url: str, headers: dict[str, str], body: bytes, keys: AccessKeys, region: str
) -> dict[str, str]:
    """All headers of a request. `url`: escaped, its query as `name=value`. Blocks for as long as two hashes take.

    Content-MD5 and the SHA-256 that is signed let the storage refuse content that was changed on its way.
    """
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    # RFC 1864: a checksum, no secret depends on it
    digest = {"Content-MD5": b64encode(md5(body, usedforsecurity=False).digest()).decode()} if body else {}
    request = AWSRequest(method=method, url=url, data=body, headers=headers | digest)
    S3SigV4Auth(Credentials(keys.access_key, keys.secret, keys.token or None), "s3", region).add_auth(request)
    return {str(name): str(value) for name, value in request.headers.items()}
