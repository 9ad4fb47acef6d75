"""Decides whether a caller proves to be the node it claims to be, by its certificate and its user identity."""

from __future__ import annotations

import hmac

from broker import tls
from broker.dicom.wire.user_information import IdentityKind, UserIdentity
from broker.site.nodes import Node

ACCEPTED_KINDS = (IdentityKind.USER_NAME, IdentityKind.USER_NAME_AND_PASSCODE)  # without and with a passcode


def is_bound(node: Node) -> bool:
    """The node names the certificate it presents."""
    return bool(node.certificate_name or node.certificate_sha256)


def presents(node: Node, certificate: tls.CertificateIdentity | None) -> bool:
    """A verified certificate is the one the node names; a node that names none needs none."""
    if not is_bound(node):
        return True
    if certificate is None:
        return False
    if node.certificate_sha256 and certificate.sha256 not in node.certificate_sha256:
        return False
    return not node.certificate_name or node.certificate_name.lower() in certificate.names


def identifies(node: Node, identity: UserIdentity | None, *, required: bool = False) -> bool:
    """The user identity is that of the node. A node without user name needs none, unless all are `required` to.

    Nothing else than the right kind with the right values will do: an absent item is a wrong one.
    """
    if not node.username:
        return not required
    kind = ACCEPTED_KINDS[bool(node.passcode)]
    if identity is None or identity.kind != kind:
        return False
    # both are always compared, and each in constant time
    name = hmac.compare_digest(identity.primary, node.username.encode())
    passcode = kind == IdentityKind.USER_NAME or hmac.compare_digest(identity.secondary, node.passcode.encode())
    return name and passcode


def identity_of(node: Node) -> UserIdentity | None:
    """What we say of ourselves to this node; we want to hear that it was checked."""
    if not node.username:
        return None
    kind = ACCEPTED_KINDS[bool(node.passcode)]
    return UserIdentity(kind, node.username.encode(), node.passcode.encode(), positive_response=True)
