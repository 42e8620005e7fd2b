"""Skeletons give what the template gives, for every text, and are not used where the template treats texts."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import demo
from service.core import Item, Patches, Picture, Turn
from service.model import skeleton as skeletons
from service.model.manifest import TemplateRules
from service.model.rendering import Shape
from service.model.skeleton import Skeletons
from service.model.template import ChatTemplate
from tests.model.slow_template import SlowTemplate

FOLDER = demo.checkpoint_folder()
LIMIT = 2**20  # tokens of a context
PICTURES = [Patches(2, 2, n, None) for n in (1, 3)]
TRICKY = (
    *("<|im_end|>", "<|im_start|>", "<|image_pad|>", "<", "|im_end|>", "<|im_", "end|>"),
    *("\ufdd0", "\ufdd2", "0", "\ufdd3", "\ufdd20\ufdd3", "<\ufdd0|im_end|>", "assistant\n"),
    *("\n", " ", "\t", "\r\n", "{{ x }}", "{%", "a", "é\u0301", "狮"),
)
TEXT = st.one_of(st.text(max_size=12), st.lists(st.sampled_from(TRICKY), max_size=6).map("".join))
PART = st.one_of(TEXT, st.sampled_from([Picture(b"0", "x"), Picture(b"1", "x")]))
TURNS = st.lists(
    st.builds(
        Turn,
        st.sampled_from(["user", "assistant"]),
        st.one_of(st.tuples(TEXT), st.lists(PART, min_size=1, max_size=3).map(tuple)),
    ),
    min_size=1,
    max_size=3,
).map(tuple)
ITEM = st.builds(
    Item,
    turns=TURNS,
    responses=st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    system=st.one_of(st.none(), st.just(""), TEXT),
)


@pytest.fixture(scope="module")
def slow():
    return SlowTemplate(FOLDER)


@pytest.fixture(scope="module")
def fast():
    """Learns every shape at its first meeting, so that what is compared is what was learned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skeletons, "_RENDERINGS", 0)
        yield ChatTemplate(FOLDER, TemplateRules(), "last")


@pytest.fixture(scope="module")
def once():
    """Learns no shape, and of every conversation what stands around its last text."""
    template = ChatTemplate(FOLDER, TemplateRules(), "last")
    around_last = template._skeletons.around_last
    template._skeletons.around_last = lambda shape, texts, _: around_last(shape, texts, 10**6)
    template._skeletons.of = lambda _: None
    return template


def whole(item):
    """Adjacent texts are one text by the time they reach the template."""
    turns = []
    for turn in item.turns:
        parts = []
        for part in turn.parts:
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            else:
                parts.append(part)
        turns.append(Turn(turn.role, tuple(parts)))
    return Item(tuple(turns), item.responses, item.system)


def grids(item):
    return [
        PICTURES[int(part.source)]
        for t in item.turns
        for part in t.parts
        if isinstance(part, Picture)
    ]


@given(items=st.lists(ITEM, min_size=1, max_size=3))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_sequence_is_that_of_the_template_itself(fast, once, slow, items):
    items = [whole(item) for item in items]
    requests = [(item, grids(item)) for item in items]
    for template in (fast, once):
        for (item, pictures), sequences in zip(
            requests, template.encode_all(requests, LIMIT), strict=True
        ):
            expected = slow.encode(item, pictures)
            assert [s.ids.tolist() for s in sequences] == [s.tolist() for s in expected]


def test_a_plain_template_is_rendered_no_more_once_it_is_known():
    template = ChatTemplate(FOLDER, TemplateRules(), "last")
    rendered = []
    real = template._tokenizer.apply_chat_template
    template._tokenizer.apply_chat_template = lambda *a, **k: rendered.append(1) or real(*a, **k)
    items = [Item((Turn("user", (f"question {i}",)),), ("one", "two")) for i in range(50)]
    for item in items[:20]:
        template.encode(item, [], LIMIT)
    rendered.clear()
    for item in items[20:]:
        template.encode(item, [], LIMIT)
    assert rendered == []


def learned(write, source="", empty=(False, False)):
    shape = Shape("default", (("user", None), ("assistant", None)), empty)
    known = Skeletons(write, lambda text: text, source)
    for _ in range(skeletons._RENDERINGS):
        assert known.of(shape) is None
    return known.of(shape)


def test_texts_in_their_places_are_learned():
    skeleton = learned(lambda _, texts: f"<u>{texts[0]}<a>{texts[1]}<e>")
    assert skeleton.fill(["1", "\n2 "]) == "<u>1<a>\n2 <e>"
    assert skeleton.around_last(["1"]) == ("<u>1<a>", "<e>")


def test_a_text_written_twice_has_no_one_place():
    skeleton = learned(lambda _, texts: f"{texts[1]}{texts[0]}{texts[1]}")
    assert skeleton.fill(["b", "a"]) == "aba"
    assert skeleton.around_last(["b"]) is None


@pytest.mark.parametrize(
    "treat",
    [
        str.strip,
        str.lstrip,
        str.rstrip,
        str.lower,
        str.title,
        lambda text: text.replace("\n", " "),
        lambda text: text.split("</think>")[-1],
        lambda text: text[:9000],
        lambda text: "" if "<tool>" in text else text,
        lambda text: "yes" if text == "<tool>" else text,
        lambda text: text.removesuffix("<tool>"),
        lambda text: text.replace("&", "&amp;"),
        lambda text: text.encode("ascii", "replace").decode(),
        lambda text: 1 / (len(text) - 1) and text,
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_texts_that_are_treated_are_not_learned(treat, place):
    """The constants of the template's source are what it can look for."""
    source = "{{ content.split('</think>')[-1] }}{% if \"<tool>\" in content %}"

    def write(_, texts):
        texts = [treat(t) if i == place else t for i, t in enumerate(texts)]
        return "<u>" + "<a>".join(texts)

    assert learned(write, source) is None


def test_a_template_that_tells_the_time_is_not_learned():
    assert learned(lambda _, texts: "".join(texts), "{{ strftime_now('%d %b') }}") is None


def test_an_empty_text_is_a_shape_of_its_own():
    def write(_, texts):
        return "".join(f"[{t}]" for t in texts if t)

    assert learned(write).fill(["a", "b"]) == "[a][b]"
    assert learned(write, empty=(True, False)).fill(["", "b"]) == "[b]"


def test_few_shapes_are_kept():
    known = Skeletons(lambda _, texts: "".join(texts), lambda text: text, "", most=4)
    for size in range(20):
        known.of(Shape("default", (("user", None),) * size, (False,) * size))
    assert len(known._known) == 4


def test_a_trimming_template_still_scores_as_it_writes(tmp_path):
    for path in FOLDER.iterdir():
        if path.name in ("tokenizer.json", "tokenizer_config.json"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    source = (FOLDER / "chat_template.jinja").read_text()
    source = source.replace("{{ message['content'] }}", "{{ message['content'] | trim }}")
    (tmp_path / "chat_template.jinja").write_text(source)
    ours, slow = ChatTemplate(tmp_path, TemplateRules(), "last"), SlowTemplate(FOLDER, source)
    item = Item((Turn("user", (" which? \n",)),), ("\n one ", "two") * 200)
    for _ in range(skeletons._RENDERINGS + 2):
        got = [s.ids.tolist() for s in ours.encode(item, [], LIMIT)]
        assert got == [ids.tolist() for ids in slow.encode(item, [])]
    assert got != [ids.tolist() for ids in SlowTemplate(FOLDER).encode(item, [])]


def test_a_shape_of_very_many_texts_is_neither_learned_nor_kept():
    """A conversation of 50,000 turns took 12.7 s to learn, and 256 such shapes 2.3 GB to keep."""
    written = []
    known = Skeletons(lambda _, texts: written.append(1) or "".join(texts), lambda text: text, "")
    for _ in range(skeletons._RENDERINGS + 2):
        assert known.of(Shape("default", (("user", None),) * 65, (False,) * 65)) is None
    assert not written
    assert not known._known


@pytest.mark.parametrize(
    "responses",
    [[str(i) for i in range(1000)], [""] * 1000, ["", "same"] * 500],
    ids=["different", "empty", "two"],
)
def test_a_long_conversation_is_not_rendered_for_each_response(responses):
    """1,001 turns and 256 responses, 40 kB of JSON, took 2.2 s: 9 ms for each."""
    template = ChatTemplate(FOLDER, TemplateRules(), "last")
    rendered = []
    real = template._tokenizer.apply_chat_template
    template._tokenizer.apply_chat_template = lambda *a, **k: rendered.append(1) or real(*a, **k)
    turns = (Turn("user", ("a",)), Turn("assistant", ("b",))) * 40
    (sequences,) = template.encode_all([(Item((*turns, turns[0]), tuple(responses)), [])], 10**6)
    assert len(sequences) == 1000
    assert len(rendered) < 200
