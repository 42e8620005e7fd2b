"""Questions: facts put into words, with the noise of real typing."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from training.facts import KIND_WEIGHTS, NUMBERS, STYLES, Fact, make_fact
from training.heldout import is_held_out
from training.scenes import COLOURS, POSITIONS, SHAPES, Scene
from training.splits import Split
from training.wordings import expand, word

# {a} is the answer, {A} the same with a capital.
FORMS = {
    "colour": "({a}|{A}|{a}.|{A}.|{A}!|It is {a}.|It's {a}.|it is {a}|The {shape} is {a}.|"
    "the {shape} is {a}|That is {a}.|{A}, I think.|It looks {a}.|The colour is {a}.|{a} color)",
    "shape": "({a}|{A}|{A}.|{A}!|a {a}|A {a}.|a {a}.|It is a {a}.|It's a {a}.|The {a}.|the {a}|"
    "The {colour} one is a {a}.|The {colour} shape is a {a}.|That is a {a}.|it is a {a})",
    "position": "({a}|{A}|{A}.|{A}!|the {a}|The {a}.|at the {a}|At the {a}.|It is at the {a}.|"
    "It's in the {a}.|It is in the {a} corner.|In the {a} corner.|The {ref} is at the {a}.|{a}.)",
    "count": "({a}|{A}|{A}.|{A}!|{a}.|There are {a}.|there are {a}|{A} shapes.|{a} shapes|"
    "There are {a} shapes.|I see {a}.|I count {a} objects.|{A} in total.)",
    "describe": "({a}|{A}|{A}.|{a}.|There is {a}.|I see {a}.|The picture shows {a}.|"
    "A picture of {a}.|It shows {a}.|there is {a})",
    "yesno_colour": "({a}|{A}|{A}.|{A}!|{a}.|{is}|{A}, the {shape} is {not}{colour}.)",
    "yesno_presence": "({a}|{A}|{A}.|{A}!|{a}.|{there}|{A}, I see {no} {ref}.)",
}
JUNK = ("", "", "hello", "I don't know.", "asdf", "...", "The", "maybe", "ok", "?", "Thank you!")
# Words that a hurried writer drops without changing what is asked.
LIGHT_TEXT = "the is a that of in you me this are do can to it please"
LIGHT_WORDS = frozenset(LIGHT_TEXT.split())
SLOT_WORDS = frozenset(" ".join((*COLOURS, *SHAPES, *POSITIONS)).split())


@dataclass(frozen=True)
class Question:
    """A question in words with one right answer and several wrong ones in the same form."""

    kind: str
    text: str
    right: str
    wrongs: tuple[str, ...]


@dataclass(frozen=True)
class Mix:
    """What training asks besides ordinary questions."""

    junk: float = 0.0  # share of questions with a wrong answer that answers nothing
    plain: float = 0.0  # share of questions whose answers are bare words
    captions: int = 0  # descriptions that come first


NO_MIX = Mix()


def capital(text: str) -> str:
    """Capitalise the first letter only."""
    return text[:1].upper() + text[1:]


def fill(form: str, fact: Fact, answer: str) -> str:
    """Put an answer into an answer form; yes and no bring their own short sentences."""
    yes = answer == "yes"
    extra = {
        "is": "Yes, it is." if yes else "No, it isn't.",
        "there": "Yes, there is." if yes else "No, there isn't.",
        "not": "" if yes else "not ",
        "no": "a" if yes else "no",
    }
    return form.format(a=answer, A=capital(answer), **extra, **fact.slots)


def vary(rng: random.Random, fact: Fact) -> dict[str, str]:
    """Choose how answers are written: digits for numbers, "upper" for "top"."""
    answers = (fact.right, *fact.wrongs)
    style = rng.random()
    if fact.kind == "count" and style < 0.4:
        return {a: str(NUMBERS.index(a) + 1) for a in answers}
    if fact.kind == "position" and style < 0.15:
        return {a: a.replace("top", "upper").replace("bottom", "lower") for a in answers}
    if fact.kind == "position" and style < 0.25:
        return {a: a.replace(" ", "-") for a in answers}
    return {a: a for a in answers}


def mistype(rng: random.Random, word_: str) -> str:
    """Drop or swap one letter of a word."""
    if len(word_) < 4 or not word_.isalpha():
        return word_
    at = rng.randrange(len(word_) - 1)
    if rng.random() < 0.5:
        return word_[:at] + word_[at + 1 :]
    return word_[:at] + word_[at + 1] + word_[at] + word_[at + 2 :]


def add_noise(rng: random.Random, text: str) -> str:
    """Type a question as people do: capitals or not, lost marks, some lost letters or words."""
    if rng.random() < 0.6:
        text = ". ".join(capital(part) for part in text.split(". "))
    if rng.random() < 0.3:
        text = text.rstrip("?.")
    words = text.split(" ")
    if rng.random() < 0.12 and len(words) > 4:
        light = [i for i, w in enumerate(words) if w.lower() in LIGHT_WORDS]
        for index in sorted(rng.sample(light, min(len(light), rng.randint(1, 2))), reverse=True):
            del words[index]
    if rng.random() < 0.06 and words:
        index = rng.randrange(len(words))
        if words[index].lower() not in SLOT_WORDS:
            words[index] = mistype(rng, words[index])
    return " ".join(words)


def ask(rng: random.Random, fact: Fact) -> str:
    """Word a fact's question, never in a held-out wording."""
    while True:
        template = word(rng, fact.kind)
        # Articles follow the sound of the name: "an orange star".
        text = re.sub(r"\ba (?=orange)", "an ", template.format(**fact.slots))
        text = add_noise(rng, text)
        if not is_held_out(text):
            return text


def put(rng: random.Random, fact: Fact, plain: float = 0.0) -> Question:
    """Put a fact into words, with one answer form for the right and the wrong answers.

    `plain` is the share of questions whose answers are bare words instead.
    """
    text = ask(rng, fact)
    assert not is_held_out(text), f"held-out wording in training: {text!r}"
    form, spelling = expand(rng, FORMS[fact.kind]), vary(rng, fact)
    if fact.kind == "describe" and not fact.right.startswith(("a ", "an ")):
        form = rng.choice(("{a}", "{A}.", "{A}", "{a}."))
    if rng.random() < plain:
        form = "{a}"
    wrongs = [fill(form, fact, spelling[wrong]) for wrong in fact.wrongs]
    return Question(fact.kind, text, fill(form, fact, spelling[fact.right]), tuple(wrongs))


def add_junk(rng: random.Random, question: Question, share: float = 0.12) -> Question:
    """Sometimes add a wrong answer that answers nothing: empty, off the subject, or noise."""
    if rng.random() >= share:
        return question
    other = rng.choice([v for k in (COLOURS, SHAPES, POSITIONS) for v in k])
    junk = rng.choice((rng.choice(JUNK), rng.choice(JUNK), other))
    # Another kind's answer could be right after all where the question asks for a description.
    if junk and junk.lower().strip("?.") in question.right.lower():
        junk = ""
    return Question(question.kind, question.text, question.right, (*question.wrongs, junk))


def random_questions(
    rng: random.Random,
    split: Split,
    scene: Scene,
    count: int,
    mix: Mix = NO_MIX,
) -> list[Question]:
    """Ask `count` questions of random kinds about a scene, after the mix's descriptions."""
    questions: list[Question] = []
    for _ in range(mix.captions):
        fact = make_fact(rng, split, scene, "describe", rng.choice(STYLES))
        questions.append(put(rng, fact, mix.plain))
    count += mix.captions
    while len(questions) < count:
        kind = rng.choices(list(KIND_WEIGHTS), list(KIND_WEIGHTS.values()))[0]
        ref = "shape" if rng.random() < 0.4 else "both"
        if kind == "describe" and rng.random() < 0.5:
            ref = rng.choice(STYLES)
        fact = make_fact(rng, split, scene, kind, ref)
        if fact is not None:
            questions.append(add_junk(rng, put(rng, fact, mix.plain), mix.junk))
    return questions
