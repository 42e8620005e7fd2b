"""What a user installs: the wheel holds the package with its demo checkpoint, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_the_demo_and_no_training_code(tmp_path):
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "service/demo/checkpoint/model.safetensors" in names
    assert "service/demo/checkpoint/reward_manifest.json" in names
    assert "service/demo/example.png" in names
    tops = {name.split("/")[0] for name in names}
    assert tops - {"service"} == {top for top in tops if top.endswith(".dist-info")}
    demo = sum(
        i.file_size for i in zipfile.ZipFile(wheel).infolist() if "/demo/checkpoint/" in i.filename
    )
    assert demo <= 5 * 2**20
