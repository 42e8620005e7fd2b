"""What every async test runs on, and the options."""

import pytest

from service.sources import set_library_defaults

set_library_defaults()  # before torch is imported, as the command does


def pytest_addoption(parser):
    parser.addoption(
        "--lag-ratio",
        type=float,
        default=5,
        help="how late the event loop may be in a burst, in lags of an idle one (on a quiet machine: 3)",
    )


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
