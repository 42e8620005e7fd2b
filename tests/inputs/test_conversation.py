"""Where pictures stand in a prompt: before, after, or at the tags in the text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.core import Picture, Turn
from service.errors import InvalidRequest
from service.inputs.conversation import user_turn

A, B = Picture("a", "images[0]"), Picture("b", "images[1]")


@pytest.mark.parametrize(
    ("pictures", "position", "parts"),
    [
        ([], "before_text", ("text",)),
        ([], "after_text", ("text",)),
        ([A, B], "before_text", (A, B, "text")),
        ([B, A], "before_text", (B, A, "text")),
        ([A, B], "after_text", ("text", A, B)),
    ],
)
def test_the_manifest_places_pictures(pictures, position, parts):
    assert user_turn("text", pictures, position) == Turn("user", parts)


@pytest.mark.parametrize("position", ["before_text", "after_text"])
@pytest.mark.parametrize(
    ("prompt", "pictures", "parts"),
    [
        ("no tag", [], ("no tag",)),
        ("<i>one", [A], (A, "one")),
        ("one<i>", [A], ("one", A)),
        ("<i>", [A], (A,)),
        ("<i><i>", [A, B], (A, B)),
        ("x<i>y<i>z", [A, B], ("x", A, "y", B, "z")),
        ("x<i>y<i>z", [A, A], ("x", A, "y", A, "z")),
        ("<I><i>", [A], ("<I>", A)),
    ],
)
def test_tags_place_pictures_wherever_the_manifest_would(prompt, pictures, parts, position):
    assert user_turn(prompt, pictures, position, "<i>") == Turn("user", parts)


@pytest.mark.parametrize(
    ("prompt", "pictures"), [("<i>", []), ("none", [A]), ("<i><i>", [A]), ("<i>", [A, B])]
)
def test_as_many_tags_as_pictures(prompt, pictures):
    with pytest.raises(InvalidRequest) as caught:
        user_turn(prompt, pictures, "before_text", "<i>")
    assert caught.value.code == "invalid_item"
    assert str(prompt.count("<i>")) in caught.value.message
    assert str(len(pictures)) in caught.value.message


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.text(alphabet="abc \n<", max_size=5), min_size=1, max_size=6))
def test_no_text_is_lost(texts):
    pictures = [Picture(str(i), "") for i in range(len(texts) - 1)]
    turn = user_turn("<img>".join(texts), pictures, "before_text", "<img>")
    assert "".join("<img>" if isinstance(p, Picture) else p for p in turn.parts) == "<img>".join(
        texts
    )
    assert [p for p in turn.parts if isinstance(p, Picture)] == pictures
    assert "" not in turn.parts
