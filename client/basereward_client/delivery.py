"""One request until it is answered: by which URL, after what wait, and when it is given up."""

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx

from basereward_client import errors
from basereward_client.answer import located, renamed
from basereward_client.engine import Engine
from basereward_client.settings import Settings

log = logging.getLogger("basereward_client")
T = TypeVar("T")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 8.0
FALLEN_S = 10.0  # so long a URL that could not be reached is tried last
LOG_EVERY_S = 30.0
DAY_S = 86_400.0  # the longest deadline that the server takes
INVALID_TRIES = 3  # of answers that cannot be believed
AGAIN = (errors.Unavailable, errors.FingerprintChanged, errors.InvalidAnswer)
KINDS: dict[int, type[errors.RewardError]] = {
    401: errors.Unauthorized,
    412: errors.FingerprintChanged,
    **dict.fromkeys((429, 502, 503, 504), errors.Unavailable),
}
NOT_AS_AGREED = (ValueError, LookupError, TypeError, AttributeError)  # of JSON of another shape


@dataclass
class Delivery(Generic[T]):
    """
    Args:
        deadline: of the monotonic clock, which is the event loop's too.
        believe: the answer's meaning; raises one of NOT_AS_AGREED where it has none, or FingerprintChanged.
        key: equal for siblings, so that they meet at one URL.
        body: as httpx takes it.
        indices: of the items that are sent, among the caller's.
    """

    settings: Settings
    engine: Engine
    deadline: float
    path: str
    believe: Callable[[httpx.Response], T]
    key: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    indices: Sequence[int] = ()
    failures: list[errors.RewardError] = field(default_factory=list)

    async def answer(self) -> T:
        """
        Raises:
            RewardError: it is refused, or cannot be had in time.
        """
        try:
            async with asyncio.timeout_at(self.deadline):
                return await self._persist()
        except TimeoutError:
            last = self.failures[-1] if self.failures else "nothing was answered yet"
            if isinstance(last, errors.FingerprintChanged):
                raise last from None
            raise errors.DeadlineExceeded(f"the deadline has passed: {last}") from None

    async def _persist(self) -> T:
        now = asyncio.get_running_loop().time
        fallen = [url for url, at in self.engine.fallen.items() if now() - at < FALLEN_S]
        urls = order(self.settings.urls, self.key, fallen)
        while True:
            try:
                return await self._try(urls[len(self.failures) % len(urls)], now)
            except errors.DeadlineExceeded:
                raise
            except AGAIN as failure:
                self.failures.append(failure)
                invalid = sum(isinstance(f, errors.InvalidAnswer) for f in self.failures)
                if invalid == INVALID_TRIES or len(self.failures) - 1 == self.settings.retries:
                    raise
                if now() >= self.engine.log_at:
                    self.engine.log_at = now() + LOG_EVERY_S
                    log.warning("trying again for %.0f s: %s", self.deadline - now(), failure)
            rounds, rest = divmod(len(self.failures), len(urls))
            if rest == 0:  # each URL has had its turn
                wish_s = min(f.retry_after_s for f in self.failures[-len(urls) :])
                await asyncio.sleep(pause_s(rounds - 1, wish_s, self.deadline - now()))

    async def _try(self, url: str, now: Callable[[], float]) -> T:
        async with self.engine.slots:
            left = self.deadline - now()
            # Less than what is left, so that an answer at the server's deadline comes before ours.
            allowed = min(DAY_S, max(0.001, left - min(1.0, left / 20)))
            own = {"X-Group-Key": self.key, "X-Request-Timeout-S": f"{allowed:.3f}"}
            if "content" in self.body:
                own["Content-Type"] = "application/json"
            sent = {**self.body, "headers": self.settings.headers(url) | own}
            # After a 412 another connection may lead to another replica.
            fresh = any(isinstance(f, errors.FingerprintChanged) for f in self.failures[-1:])
            try:
                response = await self.engine.send(url, self.path, fresh, **sent)
            except httpx.RequestError as error:
                if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                    self.engine.fallen[url] = now()
                raise errors.Unavailable(f"{url}: {type(error).__name__} {error}") from error
        self.engine.fallen.pop(url, None)
        if response.status_code != 200:  # noqa: PLR2004 - HTTP's own number
            failure = refusal(response, url, self.indices)
            if failure.code == "deadline_exceeded" and self.deadline - now() <= left - allowed:
                raise errors.DeadlineExceeded(str(failure), request_id=failure.request_id)
            raise failure
        try:
            return self.believe(response)
        except NOT_AS_AGREED as error:
            known = {"request_id": response.headers.get("x-request-id")}
            raise errors.InvalidAnswer(f"{url}: {error!r}", **known) from error


def order(urls: Collection[str], key: str, fallen: Collection[str]) -> list[str]:
    """Rendezvous hashing: equal keys meet at the same URL, and fail over to the same next one."""

    def rank(url: str) -> tuple[bool, bytes]:
        return url in fallen, hashlib.sha256(f"{key} {url}".encode()).digest()

    return sorted(urls, key=rank)


def pause_s(rounds: int, wish_s: float, left_s: float) -> float:
    """Full jitter, after what the server wished; a wish beyond the deadline leaves a last try before it."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**rounds)
    pause = wish_s + random.uniform(0, longest)  # noqa: S311 - no secret
    return pause if pause < left_s else left_s / 2


def refusal(response: httpx.Response, url: str, indices: Sequence[int]) -> errors.RewardError:
    """The error that a status stands for; in the server's words, where the answer is the server's."""
    status = response.status_code
    kind = KINDS.get(status, errors.ServerFailure if status >= 500 else errors.BadRequest)  # noqa: PLR2004
    wish = response.headers.get("retry-after", "")
    details: dict[str, Any] = {
        "code": f"http_{status}",
        "request_id": response.headers.get("x-request-id"),
        "retry_after_s": float(wish) if wish.isdecimal() else 0.0,
    }
    try:
        told: Mapping[str, Any] = response.json()["error"]
        message = f"{renamed(told['message'], indices)} ({status} {told['code']} from {url})"
        details["items"] = located(told.get("items") or [], indices)
        details["param"] = renamed(told.get("param") or "", indices) or None
        details["code"] = told["code"]
    except NOT_AS_AGREED:
        message = f"{status} from {url}"
    if kind is errors.FingerprintChanged:
        differing = _differing(response)
        message += "".join(f"; {name} is pinned, {got} is served" for name, got in differing)
        details |= (
            dict(zip(("expected", "served"), *differing[:1], strict=False)) if differing else {}
        )
    return kind(message, **details)


def _differing(response: httpx.Response) -> list[tuple[str, str]]:
    """What the request pinned, and what the server says it serves, where these differ."""
    try:
        current: Mapping[str, Any] = response.json()["error"]["current"]
        sent = response.request.headers
        pairs = [
            (sent.get(f"x-expect-{name}"), current[name]) for name in ("fingerprint", "numerics")
        ]
    except (*NOT_AS_AGREED, RuntimeError):  # no server of this kind
        return []
    return [(pinned, str(got)) for pinned, got in pairs if pinned and pinned != got]
