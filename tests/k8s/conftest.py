"""What several tests need."""

import importlib.util
import shutil

import pytest

from tests.k8s import rendering


@pytest.fixture
def repository(tmp_path):
    """A copy of all that is rendered, to change."""
    for folder in (rendering.K8S, rendering.COMPOSITIONS):
        shutil.copytree(folder, tmp_path / folder.relative_to(rendering.ROOT))
    return tmp_path


@pytest.fixture
def download(tmp_path):
    """The script that downloads weights, as a module in a pod of its own."""
    script = tmp_path / "weights" / "download.py"
    script.parent.mkdir()
    shutil.copy(rendering.COMPONENTS / "weights-source" / "download.py", script)
    spec = importlib.util.spec_from_file_location("download", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
