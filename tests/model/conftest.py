"""Random checkpoints of the tiny preset, written once a run."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service import demo
from service.model.random_checkpoint import RandomSpec, write_random
from tests.model.reference import StockModel
from tests.model.scoring import load


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory):
    made: dict[RandomSpec, Path] = {}

    def make(**spec) -> Path:
        wanted = RandomSpec(**{"dtype": "float32", **spec})
        if wanted not in made:
            folder = tmp_path_factory.mktemp("checkpoint")
            write_random(wanted, folder, demo.checkpoint_folder())
            made[wanted] = folder
        return made[wanted]

    return make


@pytest.fixture(scope="session", params=["qwen2_5_vl", "qwen2_vl"])
def pair(request, make_checkpoint):
    """(ours, stock) of one random checkpoint, on each backbone."""
    folder = make_checkpoint(model_type=request.param)
    return load(folder), StockModel(folder)


@pytest.fixture(scope="session")
def noise():
    """A picture of the size asked for, different for every seed."""

    def picture(width: int, height: int, seed: int = 0) -> Image.Image:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    return picture
