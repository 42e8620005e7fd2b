"""Every setting of the server, each one flag = environment variable = file key; nothing else reads the environment."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
Origin = Annotated[str, Field(pattern=r"^(\*|https?://[^/\s?#@]+)$")]


class Settings(BaseModel):
    """Frozen and complete. An unknown or malformed setting stops the start."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    # What is served
    checkpoint: str | None = Field(
        None,
        description="Folder or hub id of the checkpoint; unset serves the embedded demo model.",
    )
    revision: str | None = Field(None, description="Revision of a hub id: commit, tag or branch.")
    recipe: str | None = Field(
        None,
        description="Training stack whose conventions a checkpoint without a manifest follows.",
    )
    model_name: str = Field("basereward", description="Name that requests and /v1/models use.")
    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto", description="auto: CUDA if there is one, else CPU."
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto",
        description="Backbone precision; auto: bfloat16 on CUDA, float32 on CPU. The head is float32.",
    )

    cpu_wait: Literal["passive", "active"] = Field(
        "passive",
        description="How torch's CPU threads wait for each other; active spins, for a machine of its own.",
    )

    # Where it listens
    host: str = Field(
        "127.0.0.1", description="Address to listen on; :: takes IPv6 and IPv4 connections."
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    ops_port: int | None = Field(
        None, ge=0, le=65535, description="Second port that alone answers the probes and /metrics."
    )
    tls_cert_file: Path | None = Field(
        None, description="Certificate chain (PEM); with it the public port speaks TLS."
    )
    tls_key_file: Path | None = Field(None, description="Its private key (PEM).")
    backlog: Positive = Field(
        8192, description="Connections the kernel may hold before they are accepted."
    )

    max_connections: Positive | None = Field(
        None,
        description="Connections of the public port at once; unset: what the limit of open files leaves.",
    )
    keep_alive_s: Seconds = Field(
        120.0,
        description="How long an idle connection is kept; longer than any proxy in front does.",
    )
    answer_timeout_s: Seconds = Field(
        60.0, description="How long a connection may take no byte of its answer; then it is closed."
    )
    cors_origins: tuple[Origin, ...] = Field(
        (),
        description="Origins whose pages browsers let call the API, separated by commas; * is all.",
    )

    # Who may call
    api_key: SecretStr | None = Field(
        None, description="Key that every route but probes and metrics asks for."
    )
    api_key_file: Path | None = Field(
        None, description="JSON file of several keys with tenant and limits (docs/settings.md)."
    )

    # Limits of one request
    max_header_bytes: Positive = Field(
        64 * 2**10, description="Largest head of a request, and largest trailers."
    )
    max_body_bytes: Positive = Field(
        256 * 2**20, description="Largest request body, unpacked where it is compressed."
    )
    max_unpack_ratio: Positive = Field(
        100, description="Bytes to which one byte of a compressed body may unpack."
    )
    max_responses: Positive = Field(8192, description="Most responses in one request.")
    max_images: Positive = Field(1024, description="Most distinct pictures in one request.")
    max_image_pixels: Positive = Field(
        16_777_216, description="Largest picture, width times height."
    )
    max_text_chars: Positive = Field(
        262_144, description="Longest single text (prompt, turn, response)."
    )
    max_json_members: Positive = Field(
        262_144,
        description="Most members in the JSON of one request: list elements and object keys (docs/settings.md).",
    )
    max_turns: Positive = Field(1024, description="Most turns of one item.")
    max_parts: Positive = Field(2048, description="Most parts of all turns of one item.")
    max_echo_bytes: Positive = Field(
        32 * 2**20, description="Largest body of /verify, which is answered with all that came."
    )
    timeout_s: Seconds = Field(600.0, description="Deadline of a request that names none.")
    body_timeout_s: Seconds = Field(30.0, description="Longest silence while a body streams in.")

    min_body_rate_bytes: NotNegative = Field(
        1024, description="Least bytes a second of a body that has been coming for body_timeout_s."
    )

    # Pictures by URL or path: off unless allowed
    allowed_url_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts, or HOST:PORT, from which https:// pictures may be fetched, separated by commas.",
    )
    allow_private_urls: bool = Field(
        False,
        description="Let an allowed host resolve to a private address (an object store in the cluster).",
    )
    allowed_file_dir: Path | None = Field(
        None, description="Folder under which file:// pictures may be read."
    )
    fetch_timeout_s: Seconds = Field(
        10.0,
        description="Deadline of one picture fetch, from the look-up of its host to the last byte.",
    )
    max_fetch_bytes: Positive = Field(32 * 2**20, description="Largest fetched or file:// picture.")

    # Queue and batches
    max_queued_responses: Positive = Field(65_536, description="Responses that may wait at once.")
    max_queued_bytes: Positive = Field(
        4 * 2**30,
        description="Request bytes, and bytes of decoded pictures, that may wait at once.",
    )
    max_batch_tokens: int | None = Field(
        None,
        ge=32,
        description="Token budget of a step, shared ones once; unset: 16,384 on a GPU, 4,096 on a CPU.",
    )
    max_batch_responses: Positive = Field(512, description="Most responses in one step.")
    batch_wait_s: float = Field(
        0.0, ge=0, description="How long an idle model waits for company; 0 never waits."
    )
    feature_bank_bytes: NotNegative = Field(
        256 * 2**20,
        description="Device memory that keeps encoded pictures for later requests; 0 keeps none.",
    )
    prefix_bank_bytes: NotNegative = Field(
        0,
        description="Device memory that keeps keys and values of contexts for late siblings; 0 keeps none.",
    )
    result_cache_entries: NotNegative = Field(
        0, description="Rewards remembered for equal (context, response) pairs; 0 remembers none."
    )
    gpu_memory_fraction: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Of the device's memory, for weights, activations and the banks together.",
    )
    prepare_threads: int = Field(0, ge=0, description="Threads that decode; 0: one a core.")
    prepared_cache_bytes: NotNegative = Field(
        256 * 2**20,
        description="Host memory that keeps decoded pictures for later requests; 0 keeps none.",
    )
    overload_status: Literal[429, 503] | None = Field(
        None,
        description="Status of an overloaded answer; unset: 429, and 503 on the routes of trainers.",
    )

    # Life cycle
    drain_s: Seconds = Field(30.0, description="How long a stopping server finishes accepted work.")
    hang_timeout_s: Seconds = Field(
        120.0, description="Work that waits so long without a step ending makes /livez fail."
    )
    max_failed_steps: Positive = Field(
        5,
        description="So many failed steps in a row make /readyz fail, until the model is checked.",
    )
    golden_interval_s: float = Field(
        300.0, ge=0, description="Between two checks of the golden scores; 0: only at the start."
    )

    # What is told of it
    access_log_sample: float = Field(
        1.0, ge=0, le=1, description="Share of good requests that are logged; others always are."
    )
    max_runs: Positive = Field(
        64, description="Runs of each tenant whose signs of reward hacking are kept."
    )
    otlp_endpoint: str | None = Field(
        None, description="Where traces are sent (OTLP over HTTP); unset: none are made."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level logged."
    )

    @field_validator("tls_key_file")
    @classmethod
    def _tls_is_whole(cls, key: Path | None, given: ValidationInfo) -> Path | None:
        if (given.data.get("tls_cert_file") is None) != (key is None):
            raise ValueError("tls_cert_file and tls_key_file go together")
        return key

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not re.match(r"https?://[^/\s]", endpoint):
            raise ValueError("must be an address like http://collector:4318")
        return endpoint

    @field_validator("allowed_file_dir")
    @classmethod
    def _is_a_folder(cls, folder: Path | None) -> Path | None:
        if folder is not None and not folder.is_dir():
            raise ValueError("there is no such folder")
        return folder

    @property
    def needs_key(self) -> bool:
        return self.api_key is not None or self.api_key_file is not None

    def public(self) -> dict[str, Any]:
        """The settings without secrets, for `/info`."""
        values = self.model_dump(mode="json", exclude={"api_key", "api_key_file"})
        if self.checkpoint is not None and Path(self.checkpoint).exists():
            values["checkpoint"] = Path(self.checkpoint).name  # as of every path: the last part
        values |= {k: v.name for k, v in self if isinstance(v, Path) and k in values}
        return values | {"api_key_set": self.needs_key}
