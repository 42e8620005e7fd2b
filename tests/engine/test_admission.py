"""What may be held at once, and that it is given back whatever happens."""

import pytest

from service.engine import Admission, AdmissionLimits, Tenant
from service.errors import Busy, InvalidRequest

LIMITS = AdmissionLimits(max_responses=10, max_queued_responses=15, max_queued_bytes=100)


def admission(backlog_s: float = 0.0) -> Admission:
    return Admission(LIMITS, lambda: backlog_s)


def refused(code: str):
    return pytest.raises((Busy, InvalidRequest), check=lambda e: e.code == code)


def test_bytes_are_bounded_and_given_back():
    held = admission()
    held.hold_bytes(100)
    with refused("overloaded"):
        held.hold_bytes(1)
    held.hold_bytes(-30)
    held.hold_bytes(30)


def test_responses_are_bounded_by_request_and_in_all_and_given_back():
    held = admission()
    with refused("too_many_items"), held.hold(11, 60.0, Tenant()):
        pass
    with held.hold(10, 60.0, Tenant()):
        with refused("overloaded"), held.hold(6, 60.0, Tenant()):
            pass
        with held.hold(5, 60.0, Tenant()):
            pass
    with held.hold(10, 60.0, Tenant()):
        pass


def test_a_tenant_is_bounded_by_its_own_limit():
    held, tenant = admission(), Tenant("team", max_queued_responses=5)
    with held.hold(4, 60.0, tenant):
        with refused("quota_exceeded"), held.hold(2, 60.0, tenant):
            pass
        with held.hold(2, 60.0, Tenant()):
            pass
    assert tenant.held_responses == 0


def test_a_wait_past_the_deadline_is_refused_with_when_to_come_back():
    with pytest.raises(Busy) as caught, admission(backlog_s=40.0).hold(1, 30.0, Tenant()):
        pass
    assert caught.value.headers == {"Retry-After": "20"}
    with admission(backlog_s=40.0).hold(1, 50.0, Tenant()):
        pass
