"""Makes order changes of what was read, for every kind of message that brings an order.

Whoever sends it, an order has the defaults, station rules, identifier and start policies of its profile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.message import Segments
from broker.model.order import Document
from broker.orders.core.values import OrderChange, OrderKeys, PatientChange, ProcedureChange, StepChange
from broker.orders.inbound.doubts import Findings, quoted
from broker.orders.mapping import stations
from broker.orders.mapping.data_types import oddity
from broker.orders.mapping.profile import Profile, UnknownCancel
from broker.orders.mapping.provenance import OriginKind, ValueOrigin

_DATE, _TIME = "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"
_STEP = "step"
Where = Callable[[str, str], str]  # location at which an attribute of a section would be expected


@dataclass(frozen=True, slots=True)
class OrderMaker:
    """What all parts of an order are made with. `new`: the message may leave nothing out but what has a default."""

    profile: Profile
    zone: tzinfo
    findings: Findings
    new: bool

    def order(
        self,
        *,
        control: str,
        order_status: str,
        control_location: str,
        keys: OrderKeys,
        patient: PatientChange,
        visit: Document,
        request: Document,
        where: Where,
    ) -> OrderChange:
        """An order without procedures; `request` as read, with the accession number."""
        profile = self.profile
        return OrderChange(
            control=control,
            order_status=order_status,
            control_location=control_location,
            placer=keys.placer,
            filler=keys.filler,
            accession=request.get("AccessionNumber", ""),
            patient=patient,
            visit=visit,
            request={keyword: value for keyword, value in request.items() if keyword != "AccessionNumber"},
            procedures=(),
            parks=profile.policy.unknown_order_cancel is UnknownCancel.PARK,
            accession_location=where("request", "AccessionNumber"),
            placer_location=where("request", "PlacerOrderNumberImagingServiceRequest"),
            filler_location=where("request", "FillerOrderNumberImagingServiceRequest"),
            defaults={**profile.defaults.get("visit", {}), **profile.defaults.get("request", {})},
            identifiers=profile.identifiers,
            start_missing=profile.policy.start_missing,
            accession_of_another_patient=profile.policy.accession_of_another_patient,
            repeated_number=profile.policy.repeated_number,
        )

    def procedure(
        self,
        attributes: Document,
        step: Document,
        around: Document,
        view: Segments,
        where: Where,
        *,
        writes: bool = True,
    ) -> ProcedureChange:
        """A procedure of one step; `around` are the attributes of its order.

        Without `writes` the step is only to be found, so that nothing is decided about it.
        """
        profile = self.profile
        if writes:
            step = self._placed(step, {**around, **attributes}, view)
        self._check_modality(step, where)
        self._check_start(step, where(_STEP, _DATE))
        change = StepChange(
            step_id=step.get("ScheduledProcedureStepID", ""),
            stations=tuple(step.get(stations.STATION, ())),
            attributes={keyword: value for keyword, value in step.items() if keyword != stations.STATION},
            start_location=where(_STEP, _DATE),
            modality_location=where(_STEP, "Modality"),
            step_location=where(_STEP, "ScheduledProcedureStepID"),
            defaults=profile.defaults.get("step", {}),
        )
        rest = {keyword: value for keyword, value in attributes.items() if keyword != "StudyInstanceUID"}
        return ProcedureChange(
            requested_procedure_id=attributes.get("RequestedProcedureID", ""),
            study_instance_uid=attributes.get("StudyInstanceUID", ""),
            attributes=rest if writes else {},
            steps=(change,),
            uid_location=where("procedure", "StudyInstanceUID"),
            id_location=where("procedure", "RequestedProcedureID"),
            defaults=profile.defaults.get("procedure", {}),
        )

    def _check_modality(self, step: Document, where: Where) -> None:
        default = self.profile.defaults.get("step", {}).get("Modality", "") if self.new else ""
        modality = step.get("Modality", default)
        location = where(_STEP, "Modality")
        if modality and not self.profile.knows_modality(modality):
            text = f"Modality{quoted('Modality', modality)} is not known"
            self.findings.add(location, ErrorCode.TABLE_VALUE_NOT_FOUND, text)
        elif self.new and not modality:
            self.findings.add(location, ErrorCode.REQUIRED_FIELD_MISSING, "Modality is missing")

    def _check_start(self, step: Document, location: str) -> None:
        """A date alone is a start at midnight, as the time is type 1 in an answer; a time alone is none.

        A start in the hour that a change of summer time removes or repeats is kept as sent, with a warning.
        """
        if not step.get(_DATE):
            step.pop(_DATE, None)
            step.pop(_TIME, None)
            return
        step[_TIME] = step.get(_TIME) or "000000"
        kind = oddity(step[_DATE], step[_TIME], self.zone)
        if kind:
            text = {
                "skipped": "Start does not exist that day, clocks go forward: kept as sent",
                "repeated": "Start comes twice that day, clocks go back: kept as sent",
            }[kind]
            self.findings.add(location, ErrorCode.DATA_TYPE, text, Severity.WARNING)

    def _placed(self, step: Document, around: Document, view: Segments) -> Document:
        """Attributes of a step with the station that the rules of the profile give it."""
        profile = self.profile
        if not profile.stations:
            return step
        known = {**around, **step}
        if self.new:
            known = {**profile.defaults.get("procedure", {}), **profile.defaults.get("step", {}), **known}
        rule = stations.choose(profile.stations, known, view, complete=self.new)
        if rule is None:
            return step
        placed = stations.assigned(step, rule, profile.defaults.get("step", {}))
        if profile.trace is not None:
            for keyword in (stations.STATION, stations.STATION_NAME, stations.LOCATION):
                if placed.get(keyword, "") != step.get(keyword, ""):
                    origin = ValueOrigin(
                        section=_STEP,
                        keyword=keyword,
                        value=placed.get(keyword, ""),
                        how=OriginKind.STATION,
                        note=f"rule {rule.number}",
                    )
                    profile.trace.note(view, origin)
        return placed


def around(change: OrderChange, *, new: bool) -> Document:
    """Attributes of an order as its station rules see them."""
    given = {**change.patient.attributes, **change.visit, **change.request, "AccessionNumber": change.accession}
    return {**change.patient.defaults, **change.defaults, **given} if new else given
