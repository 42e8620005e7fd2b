"""What every async test runs on, and the options."""

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--lag-ratio",
        type=float,
        help="how late the loop may be in a burst, in lags of an idle one",
    )


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
