"""Section 5.2.5: Storage, as SCU and SCP (PS3.4 B.4; PS3.2 N.5.2.5)."""

from __future__ import annotations

from broker.conformance.facts import StatementFacts
from broker.conformance.naming import number
from broker.conformance.statement import StatementSection, points, section
from broker.dicom import uids


def made(facts: StatementFacts) -> StatementSection:
    """Section 5.2.5."""
    return section("5.2.5", "Storage", _scu(facts), _scp(facts))


def _scu(facts: StatementFacts) -> StatementSection:
    delivery = facts.settings.delivery
    return section(
        "5.2.5.1",
        "Storage as SCU",
        points(
            "Objects are sent to the destinations that the rules name, in the order in which they came, and with the "
            "bytes of the data set as they came.",
            f"What fails for a passing reason is tried again after {delivery.retry_first:g} s. The wait doubles up to "
            f"{delivery.retry_last:g} s. After {delivery.give_up / 86_400:g} days without success the object is held.",
            "A warning (Bxxx) counts as success. An object that a destination refuses for good is held; others go on.",
            "A destination that accepts no presentation context for an object: the object is held with this cause.",
            "No extended negotiation is proposed. Attributes are not coerced.",
            f"Destinations now, by AE title: {facts.titles('destination')}.",
        ),
        section(
            "5.2.5.1.1",
            "Transcoding",
            "An object that is not compressed is converted between the uncompressed transfer syntaxes where the "
            "destination takes it in no other way; see 7.2.2. Pixel data are never compressed or decompressed.",
        ),
    )


def _scp(facts: StatementFacts) -> StatementSection:
    settings = facts.settings
    private = ", ".join(settings.dicom.private_sop_classes) or "none"
    kept = settings.delivery.keep_days
    return section(
        "5.2.5.2",
        "Storage as SCP",
        points(
            "Level of storage: 2 (full), until an object is deleted. All attributes, private ones included, are kept "
            "and sent as they came. None is coerced, added or discarded.",
            "Level of digital signatures: 3. The bytes stay, and so do the values where an object is sent in another "
            "uncompressed transfer syntax. Signatures are neither checked nor made.",
            "All transfer syntaxes of 7.2.3 are kept as received. Objects are not displayed.",
            f"SOP classes: all of 7.2.3, with these private ones of the configuration: {private}. A SOP class that is "
            "not known is accepted where common extended negotiation says that it belongs to the service class "
            f"{uids.STORAGE_SERVICE} or is akin to a class that is known.",
            "Success (0000) is answered after the object and the jobs that deliver it are on stable storage. The whole "
            "data set is read before; one that cannot be read to its end is refused with Cxxx.",
            "The same SOP Instance UID again: the same bytes are answered with success, without a second delivery. "
            "Other bytes are a new version, and are delivered after the one before.",
            f"An object has at most {number(settings.limits.dicom_object)} bytes.",
            "The broker is no archive: objects cannot be queried or retrieved. They are deleted "
            f"{kept:g} days after they were delivered everywhere. What is held or still to be delivered is not deleted"
            + (
                "."
                if not settings.delivery.keep_held_days
                else f" before {settings.delivery.keep_held_days:g} days have passed."
            ),
        ),
    )
