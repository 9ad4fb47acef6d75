"""Decides the answer to an A-ASSOCIATE-RQ: contexts, roles, window, extended negotiation (PS3.7 D.3.3). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broker.dicom import uids
from broker.dicom.dimse.message import PresentationContext
from broker.dicom.dimse.request import Service
from broker.dicom.wire import negotiation as neg
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.user_information import Role, UserInformation


@dataclass(frozen=True, slots=True)
class Agreement:
    """The answer, and what follows from it: our contexts, the service of each, and the window (asked, served)."""

    answer: neg.AssociationAccept
    contexts: dict[int, PresentationContext]
    services: dict[int, Service]
    window: tuple[int, int]


def agree(
    request: neg.AssociationRequest,
    services: Mapping[str, Service],
    limits: AssociationLimits,
    *,
    identity_checked: bool = False,
) -> Agreement:
    """Answer a request by what is served here, `services` by abstract syntax."""
    identity = request.user.identity if identity_checked else None
    proposed_roles = {role.sop_class: role for role in request.user.roles}
    akin = _akin(request.user, services)
    results, contexts, chosen = [], {}, {}
    roles: dict[str, Role] = {}
    for context in request.contexts:
        service = services.get(context.abstract_syntax) or akin.get(context.abstract_syntax)
        service = service if service is None or service.offered() else None
        role = _role(proposed_roles.get(context.abstract_syntax), service)
        result = _result(context, service, role)
        results.append(result)
        if role is not None and service is not None:
            roles[role.sop_class] = role
        if result.result == neg.ACCEPTED and service is not None:
            contexts[context.id] = PresentationContext(
                context.id,
                context.abstract_syntax,
                result.transfer_syntax,
                serves=role.scu if role else True,
                uses=role.scp if role else False,
            )
            chosen[context.id] = service
    window = (1, 1)
    if request.user.window is not None:  # 0 means no limit
        invoked, performed = request.user.window
        window = (min(performed or 1, 1), min(invoked or limits.operations, limits.operations))
    user = UserInformation(
        limits.max_pdu,
        uids.IMPLEMENTATION_CLASS,
        uids.IMPLEMENTATION_VERSION,
        window=None if request.user.window is None else (window[1], window[0]),
        roles=tuple(roles.values()),
        extended=_extended(request.user, services, contexts),
        identity_answer=b"" if identity and identity.positive_response else None,
    )
    answer = neg.AssociationAccept(request.called_ae, request.calling_ae, tuple(results), user)
    return Agreement(answer, contexts, chosen, window)


def _result(context: neg.ProposedContext, service: Service | None, role: Role | None) -> neg.ContextResult:
    first = context.transfer_syntaxes[0]
    if service is None:
        return neg.ContextResult(context.id, neg.ABSTRACT_NOT_SUPPORTED, first)
    if role is not None and not role.scu and not role.scp:
        return neg.ContextResult(context.id, neg.USER_REJECTION, first)
    syntax = service.choose(context.transfer_syntaxes)
    if syntax is None:
        return neg.ContextResult(context.id, neg.TRANSFER_NOT_SUPPORTED, first)
    return neg.ContextResult(context.id, neg.ACCEPTED, syntax)


def _role(proposed: Role | None, service: Service | None) -> Role | None:
    """The requestor's roles that we agree to; None keeps the defaults (requestor SCU, acceptor SCP)."""
    if proposed is None or service is None:
        return None
    return Role(proposed.sop_class, proposed.scu and bool(service.handlers), proposed.scp and service.also_user)


def _akin(user: UserInformation, services: Mapping[str, Service]) -> dict[str, Service]:
    """Services for SOP classes unknown here, by the service class or related general classes that the peer names."""
    by_service_class = {s.service_class: s for s in services.values() if s.service_class}
    akin: dict[str, Service] = {}
    for entry in user.common:
        related = (services[uid] for uid in entry.related if uid in services)
        service = by_service_class.get(entry.service_class) or next(related, None)
        if service is not None:
            akin[entry.sop_class] = service
    return akin


def _extended(
    user: UserInformation, services: Mapping[str, Service], contexts: Mapping[int, PresentationContext]
) -> tuple[tuple[str, bytes], ...]:
    """Answers to SOP class extended negotiation; none means that the class is not negotiated."""
    accepted = {context.abstract_syntax for context in contexts.values()}
    answers = []
    for sop_class, information in user.extended:
        service = services.get(sop_class)
        answer = service.negotiate(sop_class, information) if service and sop_class in accepted else None
        if answer is not None:
            answers.append((sop_class, answer))
    return tuple(answers)
