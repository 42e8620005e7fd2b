"""The two clients, alike but for `await`; how a call is answered stands in `calls`."""

import os
import time
import weakref
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import fields
from os import PathLike
from typing import TYPE_CHECKING, Any, Self, TypeVar

from basereward_client.errors import BadRequest
from basereward_client.rewards import Rewards
from basereward_client.settings import Settings

if TYPE_CHECKING:  # httpx and asyncio are imported with the first call
    from basereward_client.calls import Calls

T = TypeVar("T")
Work = Coroutine[Any, Any, T]
Item = Mapping[str, Any]


class Client(Settings):
    """Of any number of threads, event loops and processes; pickled and copied without its connections."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._by_process: dict[int, Calls] = {}  # a forked child leaves its parent's alone
        self._closed = False

    def __getstate__(self) -> dict[str, Any]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        type(self).__init__(self, **state)

    @property
    def _calls(self) -> "Calls":
        from basereward_client.calls import Calls

        if self._closed:
            raise RuntimeError("the client is closed")
        pid = os.getpid()
        if pid not in self._by_process:
            calls = Calls(self.max_connections)
            if self._by_process.setdefault(pid, calls) is calls:
                # Not `stop`: joined from a collection that runs in another client's thread, two wait for each other.
                weakref.finalize(self, calls.signal)
            else:  # another thread was quicker
                calls.stop()
        return self._by_process[pid]

    def _until(self, timeout: float | None) -> float:
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def _stop(self) -> None:
        self._closed = True
        for calls in self._by_process.values():
            calls.stop()


class RewardClient(Client):
    """Calls that block; they can, inside a running event loop too."""

    def score(self, items: Iterable[Item]) -> Rewards:
        """Rewards that mirror the items (API.md §1), whose pictures may be of every kind that `pictures` knows.

        Raises:
            RewardError: `errors` tells which.
        """
        return self._wait(self._calls.score(self, items, time.monotonic()))

    def score_group(
        self,
        prompt: Any,
        responses: Iterable[str],
        images: Sequence[Any] | None = (),
        **fields: Any,
    ) -> list[float | None]:
        """One reward for each response to a prompt: a string, or chat messages."""
        return list(self.score([_group(prompt, responses, images, fields)])[0])

    def wait_ready(self, timeout: float | None = None) -> None:
        """Return once every URL is ready; NotReady after so many seconds (None: the client's timeout)."""
        self._wait(self._calls.ready(self, self._until(timeout)))

    def info(self) -> dict[str, Any]:
        """What is served, how, and within which limits: GET /info."""
        return self._wait(self._calls.info(self, self._until(None)))

    def close(self) -> None:
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _wait(self, work: Work[T]) -> T:
        future = self._calls.submit(work)
        try:
            return future.result()
        finally:
            future.cancel()  # where the wait was interrupted


class AsyncRewardClient(Client):
    """The same calls, awaited: from any event loop, each call from another one if need be."""

    async def score(self, items: Iterable[Item]) -> Rewards:
        return await self._wait(self._calls.score(self, items, time.monotonic()))

    async def score_group(
        self,
        prompt: Any,
        responses: Iterable[str],
        images: Sequence[Any] | None = (),
        **fields: Any,
    ) -> list[float | None]:
        return list((await self.score([_group(prompt, responses, images, fields)]))[0])

    async def wait_ready(self, timeout: float | None = None) -> None:
        await self._wait(self._calls.ready(self, self._until(timeout)))

    async def info(self) -> dict[str, Any]:
        return await self._wait(self._calls.info(self, self._until(None)))

    async def close(self) -> None:
        from asyncio import to_thread

        await to_thread(self._stop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _wait(self, work: Work[T]) -> T:
        from asyncio import wrap_future

        return await wrap_future(self._calls.submit(work))


def _group(
    prompt: Any, responses: Iterable[str], images: Sequence[Any] | None, fields: Mapping[str, Any]
) -> Item:
    if isinstance(responses, str | bytes):
        raise BadRequest("responses is one text; give a list of them", param="responses")
    if images is None:
        images = ()
    if not isinstance(images, Iterable) or isinstance(images, str | bytes | PathLike | Mapping):
        kind = type(images).__name__
        raise BadRequest(f"images is a {kind}; give a list of pictures", param="images")
    context = {"prompt" if isinstance(prompt, str) else "messages": prompt}
    pictures = {"images": images} if len(images) else {}
    return context | pictures | {"responses": list(responses)} | dict(fields)
