"""How vLLM is started on a CPU, tuned as its CPU guide says; its environment is made in `environments`."""

import os
from pathlib import Path

from benchmarks.baselines import environments

ENV = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; enough for hundreds of groups of the benchmark's model
    "VLLM_CPU_OMP_THREADS_BIND": f"0-{(os.cpu_count() or 1) - 1}",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "LD_PRELOAD": ":".join(map(str, environments.preloaded())),
}


def command(folder: Path, port: int) -> list[str]:
    vllm = str(environments.python("vllm").with_name("vllm"))
    flags = ["--runner", "pooling", "--convert", "auto", "--dtype", "float32"]
    flags += ["--max-model-len", "4096", "--enable-prefix-caching"]
    flags += ["--limit-mm-per-prompt", '{"video": 0}']
    # Left on, this version's classifiers give the vision tower raw pixels, and the rewards are wrong.
    flags.append("--no-mm-device-do-normalize")
    return [vllm, "serve", str(folder), "--port", str(port), "--host", "127.0.0.1", *flags]
