"""Where prometheus, promtool, alertmanager and amtool are: on the PATH, or Debian's packages unpacked under build/."""

import os
import shutil
import subprocess
from pathlib import Path

UNPACKED = Path(__file__).parents[1] / "build" / "monitoring-tools"
PACKAGES = ("prometheus", "prometheus-alertmanager")
DEBIAN_NAMES = {"alertmanager": "prometheus-alertmanager"}
# Debian's alertmanager reads its default templates from there, wherever it stands itself.
TEMPLATES = Path("/usr/share/prometheus/alertmanager")


class ToolMissing(Exception):
    """It is not here, and could not be fetched."""


def tool(name: str) -> str:
    """The path of a program. Packages are unpacked, not installed: no service starts; root is needed
    for alertmanager's templates alone.
    """
    found = _found(name)
    if found is None:
        _unpack()
        found = _found(name)
    if found is None:
        raise ToolMissing(f"{name} is not on the PATH, and {' and '.join(PACKAGES)} do not hold it")
    if name == "alertmanager" and found.startswith(str(UNPACKED)):
        _put_templates()
    return found


def _put_templates() -> None:
    if not TEMPLATES.exists():
        try:
            shutil.copytree(UNPACKED / TEMPLATES.relative_to("/"), TEMPLATES)
        except OSError as error:
            raise ToolMissing(f"alertmanager needs {TEMPLATES}: {error.strerror}") from None


def _found(name: str) -> str | None:
    folders = os.pathsep.join((os.environ.get("PATH", ""), str(UNPACKED / "usr" / "bin")))
    return shutil.which(name, path=folders) or shutil.which(
        DEBIAN_NAMES.get(name, name), path=folders
    )


def _unpack() -> None:
    if shutil.which("apt-get") is None:
        raise ToolMissing("no apt-get here: put prometheus, promtool, alertmanager, amtool on PATH")
    UNPACKED.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        _run("apt-get", "update", "-qq")
    _run("apt-get", "download", "-qq", *PACKAGES)
    for package in UNPACKED.glob("*.deb"):
        _run("dpkg", "-x", package.name, ".")
        package.unlink()


def _run(*command: str) -> None:
    ran = subprocess.run(command, cwd=UNPACKED, capture_output=True, text=True)  # noqa: S603
    if ran.returncode:
        raise ToolMissing(f"{' '.join(command)}: {ran.stderr.strip()}")
