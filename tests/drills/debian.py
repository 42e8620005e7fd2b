"""Programs from Debian's packages: installed when a drill first needs them."""

import shutil
import subprocess


def installed(program: str, package: str | None = None) -> str:
    """Its path."""
    if shutil.which(program) is None:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package or program]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    path = shutil.which(program)
    assert path is not None, f"{package or program} does not bring {program}"
    return path
