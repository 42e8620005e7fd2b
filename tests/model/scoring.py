"""Short ways to score with a loaded model, alone or in company."""

from collections.abc import Sequence

from PIL import Image

from service.core import Example, Item, Picture, Raster, Slice, Turn
from service.model.checkpoint import open_checkpoint
from service.model.reward_model import BaseRewardModel


def load(folder, **options) -> BaseRewardModel:
    return BaseRewardModel(open_checkpoint(folder, options.pop("recipe", None)), **options)


def raster(image: Image.Image) -> Raster:
    return Raster(image.width, image.height, image.tobytes())


def example(
    model: BaseRewardModel,
    prompt: str,
    responses: Sequence[str],
    images: Sequence[Image.Image] = (),
    **options,
) -> Example:
    pictures = {Picture(image.tobytes(), "image"): image for image in images}
    patches = {p: model.patchify(raster(image)) for p, image in pictures.items()}
    turn = Turn("user", (*pictures, prompt))
    (encoded,) = model.encode([Item((turn,), tuple(responses), **options)], patches)
    if isinstance(encoded, Exception):
        raise encoded
    return encoded


def alone(model: BaseRewardModel, encoded: Example) -> list[float]:
    """Each response in a step of its own."""
    return [
        model.score(model.stage((Slice(encoded, (r,)),)))[0][0] for r in range(len(encoded.lengths))
    ]


def together(model: BaseRewardModel, encoded: Sequence[Example]) -> list[list[float]]:
    """Everything in one step."""
    return model.score(model.stage(tuple(Slice(e, tuple(range(len(e.lengths)))) for e in encoded)))
