"""What every async test runs on."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
