"""The settings of a deployment: `broker.toml` and the `BROKER_…` environment variables.

Open first: `sections.py` (the keys, their defaults and meanings), then `reading.py` (how a file becomes `Settings`).
`hl7.py` has the keys of an HL7 interface, `types.py` the kinds of values, `mistakes.py` the wording of errors.
`config/reference.md` is generated from these models.
"""

from broker.settings.hl7 import Hl7Listener, Hl7Section, Hl7TlsSection
from broker.settings.reading import Settings, load
from broker.settings.sections import DatabaseSection, DicomTlsSection

__all__ = ["DatabaseSection", "DicomTlsSection", "Hl7Listener", "Hl7Section", "Hl7TlsSection", "Settings", "load"]
