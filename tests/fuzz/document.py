"""The OpenAPI document held against the server: schemathesis makes requests of it, and judges the answers by it."""

import subprocess
import sys
import tempfile
from pathlib import Path

CONFIG = Path(__file__).parent / "schemathesis.toml"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "negative_data_rejection",
)


def hold_against(url: str, seed: int, examples: int) -> "subprocess.CompletedProcess[str]":
    """Requests by the document's examples, its boundary values, and `examples` random ones of each operation."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
        *("run", f"{url}/openapi.json"),
        *("--checks", ",".join(CHECKS)),
        *("--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--warnings", "off"),
        *("--seed", str(seed), "--max-examples", str(examples), "--workers", "2", "--no-color"),
        *("--generation-database", "none"),
    ]
    with tempfile.TemporaryDirectory() as folder:  # where it keeps what it finds
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
