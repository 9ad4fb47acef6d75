"""Defines the table `[[node]]`: which of its keys go together."""

from __future__ import annotations

import re
from typing import Any

from pydantic import field_validator, model_validator

from broker.site.node_tls import certificate_name
from broker.site.tables.node_keys import NodeKeys
from broker.site.tables.roles import ASK, AUDIT, CALLED, NOTIFY
from broker.site.tables.web_address import place_of

OTHER_DESTINATIONS = ("stow", "folder", "s3")  # kinds of nodes that take objects otherwise than by C-STORE
NOTIFIED = ("webhook", "mail")  # kinds of nodes that are told that a rule matched


class NodeTable(NodeKeys):
    """`[[node]]`: a system of the site, by its protocol and its roles."""

    @field_validator("tls", mode="before")
    @classmethod
    def _own_files(cls, value: Any) -> Any:
        """`tls = true`: with our own files for its wire, as in `[dicom.tls]`."""
        if isinstance(value, bool):
            return {} if value else None
        return value

    @model_validator(mode="after")
    def _repository(self) -> NodeTable:
        syslog = self.kind == "syslog"
        if syslog != (AUDIT in self.roles) or (syslog and not (len(self.roles) == 1 and self.host and self.port)):
            raise ValueError("roles: audit is the one role of a syslog node, which has host and port")
        if self.repository is not None and self.kind != "syslog":
            raise ValueError("repository: for a syslog node with role audit")
        if self.tls is not None and self.repository is not None and self.repository.transport == "udp":
            raise ValueError("tls: goes with transport tcp")
        return self

    @model_validator(mode="after")
    def _told_of_rules(self) -> NodeTable:
        """A webhook or mail node is told that rules matched, and is nothing else."""
        if (self.kind in NOTIFIED) != (NOTIFY in self.roles) or (NOTIFY in self.roles and len(self.roles) > 1):
            raise ValueError("roles: notify is the one role of a webhook or mail node")
        if self.kind in _BY_URL and self.url is None:
            raise ValueError(f"url: {'an' if self.kind == 's3' else 'a'} {self.kind} node needs one")
        if self.url is not None and self.kind not in _BY_URL:
            raise ValueError("url: a webhook, stow or s3 node has one, and no other")
        if (self.mail is not None) != (self.kind == "mail"):
            raise ValueError("mail: a mail node has one, and no other")
        if self.kind not in NOTIFIED:
            if self.timeout is not None:
                raise ValueError("timeout: for a webhook or mail node")
            return self
        encrypted = place_of(self.url).tls if self.url else self.mail is not None and self.mail.security != "none"
        if self.tls is not None and not encrypted:
            raise ValueError("tls: for a url of https, or a mail server with security starttls or implicit")
        if self.passcode is not None and not encrypted:
            raise ValueError("passcode: goes over TLS only")
        _credentials(self)
        return self

    @model_validator(mode="after")
    def _other_destinations(self) -> NodeTable:
        """A stow, folder or s3 node is a destination, and nothing else."""
        if self.kind in OTHER_DESTINATIONS and self.roles != ("destination",):
            raise ValueError("roles: destination is the one role of a stow, folder or s3 node")
        for key, kind in (("path", "folder"), ("files", "folder"), ("stow", "stow"), ("s3", "s3")):
            if getattr(self, key) is not None and self.kind != kind:
                raise ValueError(f"{key}: for {'an' if kind == 's3' else 'a'} {kind} node")
        if self.kind == "folder" and self.path is None:
            raise ValueError("path: a folder node needs one")
        if self.kind == "folder" and (self.host or self.port or self.tls is not None):
            raise ValueError("path: a folder node has no host, port or tls beside it")
        if self.kind == "stow":
            _of_stow(self)
        if self.kind == "s3":
            _of_s3(self)
        return self

    @model_validator(mode="after")
    def _of_destinations(self) -> NodeTable:
        if "destination" not in self.roles and (keys := self.model_fields_set & _OF_DESTINATIONS):
            raise ValueError(f"{min(keys)}: for a node with role destination")
        if self.send_windows_stat and self.send_windows is None:
            raise ValueError("send_windows_stat: goes with send_windows")
        if self.commitment == ASK and self.kind != "dicom":
            raise ValueError("commitment: only a dicom node can be asked; another one has none or delivered")
        if "failover_after" in self.model_fields_set and not self.failover:
            raise ValueError("failover_after: goes with failover")
        return self

    @model_validator(mode="after")
    def _complete(self) -> NodeTable:
        if self.kind == "dicom" and self.ae_title is None:
            raise ValueError("ae_title: a dicom node needs one")
        if self.kind == "hl7" and self.application is None:
            raise ValueError("application: an hl7 node needs one")
        called = next((name for role, name in CALLED.items() if role in self.roles), "")
        elsewhere = self.kind in OTHER_DESTINATIONS and called == CALLED["destination"]
        if called and not elsewhere and (self.kind != "dicom" or not self.host or not self.port):
            raise ValueError(f"roles: {called} is a dicom node with host and port")
        others = self.model_fields_set & (_OF_CALLERS if self.kind in (*NOTIFIED, "stow") else _OF_CALLERS | _OF_USERS)
        if self.kind != "dicom" and others:
            raise ValueError(f"{min(others)}: only a dicom node has one")
        if self.feedback is not None and (self.kind != "hl7" or "ris" not in self.roles):
            raise ValueError("feedback: for an hl7 node with role ris")
        if self.device is not None and (self.kind != "dicom" or "modality" not in self.roles):
            raise ValueError("device: for a dicom node with role modality")
        if "worklist" in self.roles and (self.kind != "dicom" or not self.host or not self.port):
            raise ValueError("roles: a worklist is a dicom node with host and port")
        if self.source is not None and "worklist" not in self.roles:
            raise ValueError("source: for a dicom node with role worklist")
        if self.tls is not None and self.kind not in _BY_URL and (not self.host or not self.port):
            raise ValueError("tls: for a node with host and port; a caller is bound by certificate_name")
        if self.tls is not None and self.host and not self.tls.server_name:
            _host_name(self.host)
        if self.passcode is not None and self.username is None and self.kind != "webhook":
            raise ValueError("passcode: needs a username")
        return self


_BY_URL = ("webhook", "stow", "s3")
_OF_DESTINATIONS = {"bandwidth", "commitment", "failover", "failover_after", "send_windows", "send_windows_stat"}
_OF_CALLERS = {"certificate_name", "certificate_sha256"}
_OF_USERS = {"username", "passcode"}


def _credentials(node: NodeTable) -> None:
    """How a webhook or mail node is told who sends a notice. Raises ValueError."""
    if node.kind == "mail":
        if not node.host or not node.port:
            raise ValueError("host: a mail node has host and port, those of its server")
        if (node.username is None) != (node.passcode is None):
            raise ValueError("username: comes together with passcode")
        return
    if node.host or node.port:
        raise ValueError("host: a webhook node has host and port in its url")
    if node.username is not None and (node.passcode is None or ":" in node.username):
        raise ValueError("username: has no colon, and comes together with passcode")
    if node.username is None and node.passcode is not None and not re.fullmatch(r"[!-~]+", node.passcode):
        raise ValueError("passcode: a bearer token is printable ASCII without blanks")


def _of_stow(node: NodeTable) -> None:
    """How a DICOMweb service is told who sends: by one way, and over TLS only. Raises ValueError."""
    assert node.url is not None
    if node.host or node.port:
        raise ValueError("host: a stow node has host and port in its url")
    if "?" in node.url:
        raise ValueError("url: of a DICOMweb service, without a query")
    if node.passcode is not None and node.username is None:
        raise ValueError("passcode: a bearer token stands in a file, stow.token_file")
    if node.username is not None and (node.passcode is None or ":" in node.username):
        raise ValueError("username: has no colon, and comes together with passcode")
    by_token = node.stow is not None and (node.stow.token_file is not None or node.stow.oauth is not None)
    if by_token and node.username is not None:
        raise ValueError("username: does not go with stow.token_file or stow.oauth")
    encrypted = place_of(node.url).tls
    if not encrypted and (by_token or node.passcode is not None or node.tls is not None):
        raise ValueError("url: secrets and tls go with https only")


def _of_s3(node: NodeTable) -> None:
    """A bucket is named beside the address of its storage. Raises ValueError."""
    assert node.url is not None
    if node.s3 is None:
        raise ValueError("s3: an s3 node needs one, with its bucket")
    if node.host or node.port:
        raise ValueError("host: an s3 node has host and port in its url")
    if "?" in node.url:
        raise ValueError("url: of storage, without a query")
    if node.tls is not None and not place_of(node.url).tls:
        raise ValueError("tls: goes with a url of https")


def _host_name(host: str) -> None:
    try:
        certificate_name(host)
    except ValueError as error:
        raise ValueError(f"host: {error}") from None
