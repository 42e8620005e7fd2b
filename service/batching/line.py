"""The line: requests in order of their turn, responses in groups that share a context; no lock, no clock."""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from service.batching.cost import Tally, own_work
from service.batching.policy import BatchLimits, Part, Queue, due, light, take_step
from service.batching.queued import Group, Look, Request, TenantWork, work_of
from service.batching.shares import ShareKey, Shares
from service.batching.ticket import Job, PlannedStep, Ticket
from service.core import Slice, Work

Entry = tuple[float, int, int, Request]  # due, number, version


class Line:
    """Entries of its heaps are left behind where a request moves or goes, and skipped when met."""

    def __init__(self, predict_s: Callable[[Work], float]) -> None:
        self._predict_s = predict_s
        self._requests: dict[Ticket, Request] = {}
        self._groups: dict[tuple[ShareKey, object, int], Group] = {}
        self._shares = Shares()
        self._heaps: dict[ShareKey, list[Entry]] = {}
        self._deadlines: list[tuple[float, int, Request]] = []
        self._numbers = itertools.count()
        self._tenants: dict[str, TenantWork] = {}
        self._was_light = False  # the step before
        self.tally = Tally()  # all there is to compute, a context once a group
        self.responses = 0

    def add(self, jobs: Iterable[Job]) -> None:
        joined: dict[Request, None] = {}
        for job in jobs:
            request = self._requests.get(job.ticket) or self._join(job)
            self._put(request, job)
            joined[request] = None
        for request in joined:
            self._place(request)

    def remove(self, ticket: Ticket) -> list[Job]:
        """Take a caller out of line, with everything it still has there."""
        request = self._requests.get(ticket)
        if request is None:
            return []
        removed = [(group, job) for group, jobs in request.groups.items() for job in jobs]
        for group, job in removed:
            self._took(request, group, job, job.waiting, gone=True)
        return [job for _, job in removed]

    def expire(self, now: float) -> list[Job]:
        """Take out whose deadline has come."""
        gone: list[Job] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, request = heapq.heappop(self._deadlines)
            if request.groups:
                gone += self.remove(request.ticket)
        return gone

    def clear(self) -> list[Job]:
        return [job for ticket in list(self._requests) for job in self.remove(ticket)]

    def of_tenant(self, tenant: str) -> tuple[TenantWork | None, float]:
        """What the tenant has in line, and the weights of all that have something, summed."""
        return self._tenants.get(tenant), sum(work.weight for work in self._tenants.values())

    def oldest_queued_at(self) -> float | None:
        first = next(iter(self._requests.values()), None)
        return None if first is None else first.queued_at

    def take(self, limits: BatchLimits) -> PlannedStep | None:
        """Take the next step out of the line; None if nobody waits."""
        parts, served, look = self._choose(self._shares, limits)
        first = self._goes_first(parts)
        # Never twice, else the others' turn would not come.
        self._was_light = bool(first) and not self._was_light
        if first:
            goes = {key: (key[0] in first) == self._was_light for key in served}
            parts = [part for part in parts if goes[part.unit.share]]
            served = {key: amount for key, amount in served.items() if goes[key]}
        return self._taken(parts, served, look, light=self._was_light)

    def take_before(
        self, ahead: PlannedStep, ahead_s: float, limits: BatchLimits
    ) -> PlannedStep | None:
        """Take what goes before a step that is staged; None if nothing does."""
        tenants = self.light_beside(ahead, ahead_s)
        chosen = self._choose([key for key in self._shares if key[0] in tenants], limits)
        return self._taken(*chosen, light=True)

    def light_beside(self, ahead: PlannedStep, ahead_s: float) -> set[str]:
        """Tenants that have no part in a staged step of so many seconds, and too little in line to wait for it."""
        return self._light(self._tenants.keys() - ahead.tenants, ahead_s)

    def _light(self, tenants: Iterable[str], step_s: float) -> set[str]:
        costs_s = {t: self._predict_s(self._tenants[t].tally.work) for t in tenants}
        return light(costs_s, step_s)

    def _choose(
        self, keys: Iterable[ShareKey], limits: BatchLimits
    ) -> tuple[list[Part[Group]], dict[ShareKey, float], Look]:
        look = Look(limits.max_responses + limits.max_passed)
        shares = self._shares
        queues = {
            key: Queue(self._units(key, look), shares.weight(key), shares.served(key))
            for key in keys
        }
        return *take_step(queues, limits), look

    def _taken(
        self,
        parts: Sequence[Part[Group]],
        served: Mapping[ShareKey, float],
        look: Look,
        *,
        light: bool,
    ) -> PlannedStep | None:
        self._shares.charge(served)
        taken = [slot for part in parts for slot in self._cut(part.unit, part.responses, look)]
        for request in look.requests:
            if request.groups:
                self._place(request)
        if not taken:
            return None
        step = tuple(part for _, part in taken)
        tenants = frozenset(part.tenant for part in step)
        return PlannedStep(step, tuple(job for job, _ in taken), tenants, light)

    def _goes_first(self, parts: Sequence[Part[Group]]) -> set[str]:
        """Tenants that have too little in line to wait for a step of these parts."""
        if len(self._tenants) < 2:  # noqa: PLR2004 - a tenant has no other to wait for
            return set()
        return self._light(self._tenants, self._predict_s(work_of(parts)))

    # Joining

    def _join(self, job: Job) -> Request:
        ticket = job.ticket
        key = self._shares.join(ticket.share)
        self._tenants.setdefault(key[0], TenantWork(ticket.share.weight))
        self._heaps.setdefault(key, [])
        request = Request(ticket, key, job.queued_at, next(self._numbers))
        self._requests[ticket] = request
        heapq.heappush(self._deadlines, (ticket.deadline, request.number, request))
        return request

    def _put(self, request: Request, job: Job) -> None:
        example, tenant = job.example, self._tenants[request.share[0]]
        # Without a name nobody else can have the same context: a group of its own.
        key = (request.share, example.prefix_key or job, example.prefix_tokens)
        group = self._groups.get(key)
        if group is None:
            prefix = example.prefix_tokens
            group = self._groups[key] = Group(key, example, prefix, prefix)
            self.tally.add_context(example)
            tenant.tally.add_context(example)
        own = own_work(example, job.waiting)
        group.jobs[job] = None
        group.tokens += own[0]
        group.responses += len(job.waiting)
        self.responses += len(job.waiting)
        tenant.responses += len(job.waiting)
        self.tally.add(own)
        tenant.tally.add(own)
        request.left.add(own)
        if group not in request.groups:
            request.groups[group] = {}
            request.left.add_context(example)
        request.groups[group][job] = None

    def _place(self, request: Request) -> None:
        request.version += 1
        turn = due(request.queued_at, request.ticket.deadline, self._predict_s(request.left.work))
        entry = (turn, request.number, request.version, request)
        heapq.heappush(self._heaps[request.share], entry)

    # Taking

    def _units(self, key: ShareKey, look: Look) -> Iterator[Group]:
        """The share's groups, each at the turn of the first request that waits for some of it."""
        heap = self._heaps[key]
        while heap:
            _, _, version, request = heapq.heappop(heap)
            if version != request.version or not request.groups:
                continue
            look.requests[request] = None
            for group in request.groups:
                if group not in look.groups:
                    look.groups.add(group)
                    yield group
            if len(look.requests) >= look.most:
                break

    def _cut(self, group: Group, count: int, look: Look) -> Iterator[tuple[Job, Slice]]:
        for job in list(group.jobs):
            part = job.take(count)
            request = self._requests[job.ticket]
            look.requests[request] = None
            self._took(request, group, job, part.responses, gone=not job.waiting)
            yield job, part
            count -= len(part.responses)
            if count == 0:
                break

    def _took(
        self, request: Request, group: Group, job: Job, taken: Sequence[int], *, gone: bool
    ) -> None:
        own, tenant = own_work(job.example, taken), self._tenants[request.share[0]]
        self.responses -= len(taken)
        tenant.responses -= len(taken)
        self.tally.add(own, -1)
        tenant.tally.add(own, -1)
        request.left.add(own, -1)
        group.tokens -= own[0]
        group.responses -= len(taken)
        if gone:
            self._gone(request, group, job)

    def _gone(self, request: Request, group: Group, job: Job) -> None:
        del group.jobs[job]
        if not group.jobs:
            del self._groups[group.key]
            self.tally.add_context(group.example, -1)
            self._tenants[request.share[0]].tally.add_context(group.example, -1)
        del request.groups[group][job]
        if not request.groups[group]:
            del request.groups[group]
            request.left.add_context(group.example, -1)
        if not request.groups:
            self._leave(request)

    def _leave(self, request: Request) -> None:
        del self._requests[request.ticket]
        if not self._tenants[request.share[0]].responses:
            del self._tenants[request.share[0]]
        if self._shares.leave(request.share):
            del self._heaps[request.share]
        # Whoever is gone is soon forgotten, but not one by one.
        if len(self._deadlines) > 2 * len(self._requests):
            self._deadlines = [entry for entry in self._deadlines if entry[2].groups]
            heapq.heapify(self._deadlines)
