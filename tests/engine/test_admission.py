"""What may be held at once, that it is given back whatever happens, and who waits for it."""

import asyncio
import time

import anyio
import pytest

from service.engine import Admission, AdmissionLimits, Caller, Tenant
from service.errors import Busy, InvalidRequest
from tests.models import WAIT_S

pytestmark = pytest.mark.anyio

ONE = Tenant()
LIMITS = AdmissionLimits(max_responses=10, max_queued_responses=15, max_queued_bytes=100)


def admission(backlog_s: float = 0.0) -> Admission:
    return Admission(LIMITS, lambda tenant: backlog_s)


def holding(held: Admission, responses: int, caller: Caller | None = None, seconds: float = 60.0):
    return held.hold(responses, time.monotonic() + seconds, caller or Caller())


def refused(code: str):
    return pytest.raises((Busy, InvalidRequest), check=lambda e: e.code == code)


def test_bytes_are_bounded_and_given_back():
    held = admission()
    held.hold_bytes(100, ONE)
    with refused("overloaded"):
        held.hold_bytes(1, ONE)
    held.hold_bytes(-30, ONE)
    held.hold_bytes(30, ONE)


async def test_responses_are_bounded_by_request_and_in_all_and_given_back():
    held = admission()
    with refused("too_many_items"):
        async with holding(held, 11):
            pass
    async with holding(held, 10):
        with refused("overloaded"):
            async with holding(held, 6):
                pass
        async with holding(held, 5):
            pass
    async with holding(held, 10):
        pass


async def test_a_tenant_is_bounded_by_its_own_limit():
    held, tenant = admission(), Tenant("team", max_queued_responses=5)
    async with holding(held, 4, Caller(tenant)):
        with refused("quota_exceeded"):
            async with holding(held, 2, Caller(tenant)):
                pass
        async with holding(held, 2):
            pass
    assert tenant.held_responses == 0


async def test_a_wait_past_the_deadline_is_refused_with_when_to_come_back():
    with pytest.raises(Busy) as caught:
        async with holding(admission(backlog_s=40.0), 1, seconds=30.0):
            pass
    assert caught.value.headers == {"Retry-After": "20"}
    async with holding(admission(backlog_s=40.0), 1, seconds=51.0):
        pass


async def test_what_was_held_is_given_back_when_the_work_fails():
    held = admission()
    with pytest.raises(ZeroDivisionError):
        async with holding(held, 10):
            raise ZeroDivisionError
    async with holding(held, 10):
        pass


class Line:
    """Patient callers, and the order in which they got their places."""

    def __init__(self, held: Admission):
        self.held = held
        self.entered: list[str] = []
        self.leave = asyncio.Event()

    async def stand(self, name: str, responses: int, caller: Caller):
        async with holding(self.held, responses, caller):
            self.entered.append(name)
            await self.leave.wait()


async def settle():
    """Let everything that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_patient_caller_waits_for_places_and_the_first_comes_first():
    held, patient = admission(), Caller(patient=True)
    line = Line(held)
    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as tasks:
            async with holding(held, 10):
                tasks.start_soon(line.stand, "large", 8, patient)
                await settle()
                tasks.start_soon(line.stand, "small", 1, patient)
                await settle()
                # One place would do for the small one; it does not overtake.
                assert line.entered == []
            await settle()
            assert line.entered == ["large", "small"]
            line.leave.set()


async def test_a_tenant_over_its_limit_holds_up_nobody_else():
    held, tenant = admission(), Tenant("team", max_queued_responses=1)
    line = Line(held)
    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as tasks:
            async with holding(held, 1, Caller(tenant)):
                tasks.start_soon(line.stand, "limited", 1, Caller(tenant, patient=True))
                await settle()
                tasks.start_soon(line.stand, "other", 1, Caller(patient=True))
                await settle()
                assert line.entered == ["other"]
            await settle()
            assert line.entered == ["other", "limited"]
            line.leave.set()


async def test_a_patient_caller_is_refused_at_its_deadline():
    held = admission()
    async with holding(held, 10):
        with refused("overloaded"):
            async with holding(held, 10, Caller(patient=True), seconds=0.05):
                pass
        with refused("overloaded"):
            held.hold_bytes(100, ONE)
            await held.announce(1, time.monotonic() + 0.05, ONE)


async def test_what_can_never_fit_is_not_waited_for():
    held, patient = admission(), Tenant("team", max_queued_responses=5)
    with refused("too_many_items"):
        async with holding(held, 6, Caller(patient, patient=True)):
            pass
    with refused("body_too_large"):
        await held.announce(101, time.monotonic() + WAIT_S, ONE)


async def test_a_patient_caller_is_refused_at_its_deadline_behind_another_of_its_line():
    held, begun = admission(), time.monotonic()
    async with anyio.create_task_group() as tasks, holding(held, 10):
        tasks.start_soon(Line(held).stand, "first", 10, Caller(patient=True))
        await settle()
        with refused("overloaded"):
            async with holding(held, 1, Caller(patient=True), seconds=0.05):
                pass
        tasks.cancel_scope.cancel()
    assert time.monotonic() - begun < WAIT_S


async def test_room_for_a_body_is_waited_for_as_a_whole():
    held = admission()
    held.hold_bytes(60, ONE)
    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(held.announce, 50, time.monotonic() + WAIT_S, ONE)
            await settle()
            held.hold_bytes(40, ONE)  # nothing of the 50 is held while they wait
            held.hold_bytes(-60, ONE)
    assert ONE.announced_bytes == 50
    held.unannounce(50, ONE)
    held.hold_bytes(-40, ONE)


async def test_what_is_announced_and_does_not_come_is_in_no_other_tenants_way():
    """16 connections that stated 256 MiB each, and sent a byte, kept everybody else out for as long as they liked."""
    held, one, other = admission(), Tenant("one"), Tenant("other")
    await held.announce(100, time.monotonic() + WAIT_S, one)
    with refused("overloaded"):  # its own next body waits
        await held.announce(1, time.monotonic() + 0.05, one)
    await held.announce(100, time.monotonic() + WAIT_S, other)
    held.hold_bytes(100, other)


def test_of_several_tenants_each_leaves_room_for_others():
    held, tenants = admission(), [Tenant(str(i), alone=False) for i in range(3)]
    took = []
    for tenant in tenants:
        with refused("quota_exceeded"):
            while True:
                held.hold_bytes(1, tenant)
        took.append(tenant.held_bytes)
    assert took == [50, 25, 12]
    for tenant in tenants:
        held.hold_bytes(-tenant.held_bytes, tenant)


async def test_a_tenants_first_request_may_be_more_than_its_part():
    held = admission()
    one, other = (Caller(Tenant(name, alone=False)) for name in ("one", "other"))
    async with holding(held, 10, one):
        with refused("quota_exceeded"):
            async with holding(held, 1, one):
                pass
        async with holding(held, 5, other):
            pass


async def test_who_waits_is_told_when_the_server_goes():
    held = admission()
    errors = []

    async def stand():
        try:
            async with holding(held, 10, Caller(patient=True)):
                pass
        except Busy as error:
            errors.append(error.code)

    async with holding(held, 10), anyio.create_task_group() as tasks:
        tasks.start_soon(stand)
        await settle()
        held.close()
    assert errors == ["draining"]
