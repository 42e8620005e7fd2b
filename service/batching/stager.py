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
    """wait → choose → stage. The model's thread says what runs (`running`), and when it has taken what is `next`."""

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
        self._hand_over = hand_over  # None: there will be no more steps
        self._slot = threading.Semaphore(1)  # free while no step is staged
        self._margin_s = 0.0  # what choosing and staging took at worst, of late
        self.running: Staged | None = None
        self.next: Staged | None = None
        self.woken_at = clock()  # when work came to an idle model

    def run(self) -> None:
        while self._planner.wait():
            if self.running is None and self.next is None:
                self.woken_at = self._clock()
            self._planner.wait_for_company(self._clock())
            self._slot.acquire()
            self._stay_open()
            if not self._stage_next():
                self._slot.release()
        self._hand_over(None)

    def taken(self, staged: Staged) -> None:
        """The model's thread runs it."""
        self.running, self.next = staged, None
        self._slot.release()

    def _stay_open(self) -> None:
        """Let late siblings join: until the step before is about to end, or, when none runs, for a moment."""
        ahead = self.running
        if ahead is None or ahead.started_at is None or ahead.ended.is_set():
            self._planner.wait_for_arrivals()
        else:
            margin = self._margin_s + MARGIN_S
            ahead.ended.wait(close_in_s(ahead.started_at, ahead.predicted_s, margin, self._clock()))

    def _stage_next(self) -> bool:
        """False if nobody in line was still waiting."""
        begin = self._clock()
        planned = self._planner.take(begin)
        if planned is None:
            return False
        self.next = staged = Staged(planned)
        self._stage(staged)
        self._margin_s = max(self._clock() - begin, MARGIN_DECAY * self._margin_s)
        self._hand_over(staged)
        return True

    def _stage(self, staged: Staged) -> None:
        begin = self._clock()
        try:
            staged.payload = self._model.stage(staged.planned.step)
        except Exception as error:  # noqa: BLE001 - whatever it is, its callers get an answer
            staged.error = error
        else:
            self._account.staged(self._clock() - begin)
            staged.predicted_s = self._planner.predict_s(staged.payload.work)
