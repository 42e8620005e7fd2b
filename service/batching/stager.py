"""The thread that chooses the next step and lays it out, so that exactly one is ready behind the running one."""

import threading
from collections.abc import Callable

from service.batching.account import Account
from service.batching.planner import Planner
from service.batching.policy import close_in_s
from service.batching.staged import Staged
from service.core import RewardModel

Clock = Callable[[], float]

MARGIN_S = 0.002  # for what is not measured: two threads to be woken
MARGIN_DECAY = 0.9  # a step


class Stager:
    """wait → choose → stage. The model's thread takes the first of what is staged, and says what runs (`running`).

    One step is staged behind the running one; a light one of other tenants may go before it.
    """

    def __init__(
        self,
        model: RewardModel,
        planner: Planner,
        account: Account,
        clock: Clock,
        hand_over: Callable[[Staged | None], None],
    ) -> None:
        self._model = model
        self._planner = planner
        self._account = account
        self._clock = clock
        self._hand_over = hand_over  # one more is staged; None: there will be no more steps
        self._lock = threading.Lock()  # of the order of what is staged
        self._staged: list[Staged] = []  # in the order in which they run
        self._staging: Staged | None = None
        self._margin_s = 0.0  # what choosing and staging took at worst, of late
        self.running: Staged | None = None
        self.woken_at = clock()  # when work came to an idle model

    def run(self) -> None:
        while self._planner.wait():
            if not self.under_way:
                self.woken_at = self._clock()
            self._planner.wait_for_company(self._clock())
            if self._planner.wait_for_room(self._in_front):
                self._stay_open()
                self._stage_next()
            else:
                self._stage_before()
        self._hand_over(None)

    def take(self) -> Staged:
        """What the model's thread runs now; to be called once for each that was handed over."""
        with self._lock:
            self.running = first = self._staged[0]
            first.started_at = self._clock()
            del self._staged[0]
        self._planner.room_made()
        return first

    @property
    def under_way(self) -> set[Staged]:
        """Whatever is out of the line and has not ended."""
        # In this order, which is that of a step's life, and without the lock: none is missed.
        steps = (self._staging, *self._staged, self.running)
        return {step for step in steps if step is not None}

    def _in_front(self) -> Staged | None:
        """The step that nothing is staged behind."""
        with self._lock:
            return next((step for step in self._staged if not step.planned.light), None)

    def _stay_open(self) -> None:
        """Let late siblings join: until the step before is about to end, or, when none runs, for a moment."""
        ahead = self.running
        if ahead is None or ahead.started_at is None or ahead.ended.is_set():
            self._planner.wait_for_arrivals()
        else:
            margin = self._margin_s + MARGIN_S
            ahead.ended.wait(close_in_s(ahead.started_at, ahead.predicted_s, margin, self._clock()))

    def _stage_next(self) -> None:
        """Nothing, if nobody in line was still waiting."""
        begin = self._clock()
        planned = self._planner.take(begin)
        if planned is None:
            return
        self._staging = staged = Staged(planned)
        self._stage(staged)
        self._margin_s = max(self._clock() - begin, MARGIN_DECAY * self._margin_s)
        with self._lock:
            self._staged.append(staged)
        self._staging = None
        self._hand_over(staged)

    def _stage_before(self) -> None:
        ahead = self._in_front()
        planned = self._planner.take(self._clock(), ahead) if ahead else None
        if ahead is None or planned is None:
            return
        ahead.overtaken = True
        self._staging = staged = Staged(planned)
        with self._lock:  # the model's thread waits for it: it is little
            self._stage(staged)
            at = self._staged.index(ahead) if ahead in self._staged else len(self._staged)
            self._staged.insert(at, staged)
        self._staging = None
        self._hand_over(staged)

    def _stage(self, staged: Staged) -> None:
        begin = self._clock()
        try:
            staged.payload = self._model.stage(staged.planned.step)
        except Exception as error:  # noqa: BLE001 - whatever it is, its callers get an answer
            staged.error = error
        else:
            self._account.staged(self._clock() - begin)
            staged.predicted_s = self._planner.predict_s(staged.payload.work)
