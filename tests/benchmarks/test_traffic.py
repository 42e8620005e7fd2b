import io
import math
import statistics

import pytest
from PIL import Image
from tokenizers import Tokenizer

from benchmarks.pictures import picture, side_pixels
from benchmarks.texts import Texts
from benchmarks.traffic import SIGMA, Spec, generate, lognormal, rows

KINDS = [
    Spec("A", 2, group=4, image_tokens=16, median_tokens=20),
    Spec("A1", 2, group=4, image_tokens=16, median_tokens=20),
    Spec("B", 6, image_tokens=16, median_tokens=40),
    Spec("C", 6, median_tokens=20),
    Spec("D", 3, image_tokens=16, median_tokens=20),
]


def token_count(folder, text: str) -> int:
    return len(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids)


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_the_same_seed_gives_the_same_traffic_and_another_seed_another(spec, folder):
    assert generate(spec, folder) == generate(spec, folder)
    ours, others = rows(generate(spec, folder)), rows(generate(spec.sized(spec.calls, 7), folder))
    assert not {text for *_, text in ours} & {text for *_, text in others}


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_no_response_comes_twice(spec, folder):
    responses = [response for _, _, response in rows(generate(spec, folder))]
    assert len(set(responses)) == len(responses)


@pytest.mark.parametrize("tokens", [1, 2, 17, 250])
def test_a_text_has_exactly_the_tokens_asked_for(tokens, folder):
    texts = Texts(folder, seed=3)
    assert all(token_count(folder, texts.text(tokens)) == tokens for _ in range(5))


def test_a_group_shares_one_picture_and_groups_have_pictures_of_their_own(folder):
    calls = generate(KINDS[0], folder)
    assert [len(call.responses) for call in calls] == [4, 4]
    assert calls[0].image != calls[1].image
    lengths = sorted(token_count(folder, text) for text in calls[0].responses)
    assert lengths == sorted(lognormal(4, 20, SIGMA, (1, 4096)))
    assert 50 <= token_count(folder, calls[0].prompt) <= 100


def test_a_larger_burst_of_groups_begins_with_the_smaller_one(folder):
    spec = KINDS[0]
    assert generate(spec.sized(3, 5), folder)[:2] == generate(spec.sized(2, 5), folder)


def test_separate_siblings_are_the_rows_of_the_whole_groups(folder):
    whole, separate = generate(KINDS[0], folder), generate(KINDS[1], folder)
    assert rows(whole) == rows(separate)
    assert all(len(call.responses) == 1 for call in separate)


def test_half_of_the_mixed_singles_have_a_picture_and_the_short_ones_none(folder):
    assert sum(call.image is not None for call in generate(KINDS[2], folder)) == 3
    assert not any(call.image for call in generate(KINDS[3], folder))


def test_log_normal_lengths_have_the_median_and_the_spread_stated():
    lengths = lognormal(1001, 300, 0.6, (1, 100_000))
    assert statistics.median(lengths) == 300
    assert statistics.stdev(map(math.log, lengths)) == pytest.approx(0.6, rel=0.02)
    assert lognormal(11, 100, 2.0, (16, 1024))[0] == 16


@pytest.mark.parametrize(("tokens", "side"), [(256, 448), (1024, 896)])
def test_a_picture_has_the_size_that_gives_its_tokens(tokens, side):
    assert side_pixels(tokens) == side
    image = Image.open(io.BytesIO(picture(tokens, seed=1)))
    assert image.size == (side, side)
    assert image.format == "JPEG"


def test_a_number_of_tokens_that_is_no_square_is_refused():
    with pytest.raises(ValueError, match="300"):
        side_pixels(300)
