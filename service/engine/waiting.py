"""Waiting for something, but not for ever."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def waited(seconds: float, work: Awaitable[T]) -> T | None:
    """The result, or None when the time is over first."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            return await work
    except TimeoutError:
        return None
