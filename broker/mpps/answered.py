"""Lists the statuses that the door of performed procedure steps answers with, by request (PS3.4 F.7.2, F.8.2).

A test compares them with what the door, its checks and its recording use.
"""

from __future__ import annotations

from collections.abc import Mapping

from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.status import AnsweredStatus

_AWAY = "The data set cannot be read, or the database does not answer. The Error Comment has a code."
_DEFECT = AnsweredStatus(st.RESOURCE_LIMITATION, "An internal error. The request can be sent again.")
_ODD = "The device is served leniently, and a value does not fit its VR. The message is taken."
_UID = AnsweredStatus(
    st.INVALID_SOP_INSTANCE,
    "The SOP Instance UID is no UID. For a device that is served leniently, one with zeros in front of a component is "
    "taken, and an N-CREATE without one gets one.",
)

ANSWERED: Mapping[int, tuple[AnsweredStatus, ...]] = {
    cmd.N_CREATE_RQ: (
        AnsweredStatus(st.SUCCESS, "The step is on stable storage, or it was already by the same message."),
        AnsweredStatus(
            st.ATTRIBUTE_LIST_ERROR,
            "A warning; the step is created. The device is served leniently and an attribute or a value that must be "
            "there is missing, or it is served strictly and there are attributes that are not supported.",
        ),
        AnsweredStatus(st.VALUE_OUT_OF_RANGE, _ODD),
        AnsweredStatus(
            st.INVALID_ATTRIBUTE_VALUE,
            "The status is not IN PROGRESS, there are too many scheduled steps, or the device is served strictly and a "
            "value does not fit its VR.",
        ),
        AnsweredStatus(st.PROCESSING_FAILURE, _AWAY),
        AnsweredStatus(st.DUPLICATE_SOP_INSTANCE, "There is another step of this SOP Instance UID."),
        _UID,
        AnsweredStatus(st.MISSING_ATTRIBUTE, "An attribute that must be there is missing."),
        AnsweredStatus(st.MISSING_ATTRIBUTE_VALUE, "An attribute that must have a value has none."),
        _DEFECT,
    ),
    cmd.N_SET_RQ: (
        AnsweredStatus(st.SUCCESS, "The change is on stable storage, or it was already by the same message."),
        AnsweredStatus(
            st.ATTRIBUTE_LIST_ERROR,
            "A warning; the rest is set. The device is served leniently and an attribute may not be set or was not "
            "created, or it is served strictly and there are attributes that are not supported.",
        ),
        AnsweredStatus(st.VALUE_OUT_OF_RANGE, _ODD),
        AnsweredStatus(
            st.NO_SUCH_ATTRIBUTE, "The device is served strictly, and an attribute was not created by the N-CREATE."
        ),
        AnsweredStatus(
            st.INVALID_ATTRIBUTE_VALUE,
            "The status is none of a performed step, or the device is served strictly and an attribute may not be set "
            "or a value does not fit its VR.",
        ),
        AnsweredStatus(st.PROCESSING_FAILURE, _AWAY),
        AnsweredStatus(
            st.PROCESSING_FAILURE,
            "The step is COMPLETED or DISCONTINUED and may no longer be updated.",
            st.NO_LONGER_UPDATABLE,
        ),
        AnsweredStatus(st.NO_SUCH_SOP_INSTANCE, "There is no step of this SOP Instance UID."),
        _UID,
        AnsweredStatus(st.MISSING_ATTRIBUTE, "The device is served strictly, and the final state lacks an attribute."),
        AnsweredStatus(
            st.MISSING_ATTRIBUTE_VALUE,
            "The device is served strictly, and the status or the final state has no value.",
        ),
        _DEFECT,
    ),
    cmd.N_GET_RQ: (
        AnsweredStatus(st.SUCCESS, "The attributes that were asked for, or all of them, are in the answer."),
        AnsweredStatus(st.NOT_ALL_SUPPORTED, "A warning: attributes that are not supported are left out."),
        AnsweredStatus(st.PROCESSING_FAILURE, "The database does not answer, or the request cannot be read."),
        AnsweredStatus(st.NO_SUCH_SOP_INSTANCE, "There is no step of this SOP Instance UID."),
        _DEFECT,
    ),
}
