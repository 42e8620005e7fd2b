"""Wordings: a small grammar of the ways people ask; `(a|b|)` chooses, `{slot}` is filled later."""

from __future__ import annotations

import random
import re

CHOICE = re.compile(r"\(([^()]*)\)")

# Word groups used by the templates below; they may use one another.
GROUPS = {
    "<the>": "(the|the|the|that|this)",
    "<col>": "(colour|color)",
    "<pic>": "(picture|picture|image|photo|drawing|scene)",
    "<here>": "(||||| here| in the <pic>| in this <pic>)",
    "<ask>": "(tell me|say|name|give me|state|identify|report|let me know)",
    "<know>": "((can|could|would|will) you (tell me|say|name|describe|see)|do you know|any idea|"
    "i (want|need|would like|'d like) to know|i was wondering|tell me|say|describe|guess|explain)",
    "<whether>": "((can|could|would) you (tell me|say|check|confirm)|do you know|"
    "i (want|need|would like) to know|i was wondering|tell me|check|say|let me know|"
    "i wonder) (if|whether)",
    "<thing>": "(one|thing|object|figure|item|shape|element|part)",
    "<things>": "(shapes|objects|things|figures|items|elements|forms)",
    "<front>": "(||||||||please |hey, |ok, |hi, |so, |well, |look at the <pic>. |now, "
    "|in this <pic>, |quick question: |hello! |one question: |think: )",
    "<right>": "(correct|is that right|isn't it|yes|am i right|is that so|true|true or not|"
    "is that true|or not|or am i wrong|do you agree|agree|is that correct|no doubt)",
}

COLOUR = (
    "(what|which) <col> (is|would you say is|do you think is) <the> {shape}<here>?",
    "what <col> do you (think|believe) <the> {shape} is?",
    "(what|which) <col> would you (say|call|give|name for) <the> {shape}<here>?",
    "what('s| is) the <col> of <the> {shape}<here>?",
    "what('s| is) <the> {shape}'s <col>?",
    "(what|which) <col> (does <the> {shape} (have|show)|has <the> {shape})<here>?",
    "<the> {shape} (is|has|shows|comes in|is painted) (what|which) <col>?",
    "<the> {shape}'s <col>(?| is| please)",
    "<know> (what|which) <col> <the> {shape} (is|has)<here>?",
    "<know> (the <col> of <the> {shape}|<the> {shape}'s <col>)<here>?",
    "<ask> (the <col> of <the> {shape}|<the> {shape}'s <col>)<here>.",
    "<ask> (what|which) <col> <the> {shape} (is|has)<here>.",
    "(there is|there's|here is|you see|look at|i can see|i've got|i have) (a|one|the|this) "
    "{shape}<here>(.|;|,|:) (what|which|its|name its|tell me its) <col>( is it| does it have|)?",
    "(there is|i found|i noticed|see) (a|one) {shape}<here>. what('s| is) (its|the) <col>?",
    "(in|with) (what|which) <col> is <the> {shape} (drawn|painted|filled|shown)?",
    "(what|which) <col> (was used for|did they paint|fills|covers|is used for) <the> {shape}?",
    "how is <the> {shape} (coloured|colored|painted)?",
    "how would you (describe|name|call) the <col> of <the> {shape}?",
    "({shape}: |{shape}, |)(what |which |)<col>( of| for|:| is) <the> {shape}?",
)

SHAPE = (
    "(what|which) shape (is <the> {colour} <thing>|is in {colour}|has the <col> {colour})<here>?",
    "(what|which) (kind|sort|type) of (shape|figure|thing|object|form) is (<the> {colour} <thing>|"
    "{colour}|in {colour})<here>?",
    "what('s| is) <the> {colour} (one|object|figure|shape|item|form)<here>?",
    "what would you call <the> {colour} <thing><here>?",
    "<the> {colour} <thing> (is|has|shows|forms) (what|which|a what) shape?",
    "<the> {colour} <thing> is (what|a what|which figure|which form)?",
    "which (figure|object|thing|item|form) (is|looks|was painted|is drawn in) {colour}<here>?",
    "<know> (what|which shape|which figure|what kind of shape) <the> {colour} <thing> "
    "(is|has)<here>?",
    "<know> (which shape|what|which thing|what figure) is {colour}<here>?",
    "<ask> (what|which shape|which figure|what kind of thing) <the> {colour} <thing> is<here>.",
    "<ask> (the shape of |)<the> {colour} <thing><here>.",
    "(there is|there's|i see|i can see|you see|we have) (something|a <thing>|one <thing>|"
    "a thing in|an object in) {colour}<here>(.|,|;) (what|which shape|what figure) is it?",
    "(something|one <thing>|a <thing>)<here> is {colour}(.|,) (what|which shape|what form) is it?",
    "what (do you see|can be seen|is drawn|is painted|is shown|can you find) in {colour}<here>?",
    "what('s| is) {colour}<here>?",
    "(the |)(shape|form|kind) of <the> {colour} <thing><here>?",
    "what does <the> {colour} <thing> (look like|show)<here>?",
    "{colour} <thing>: (which shape|what is it|what shape|name it)?",
    "(what|which) (form|figure) does <the> {colour} <thing> have?",
)

POSITION = (
    "where (is|'s) <the> {ref}( located| placed| drawn| found| standing| in the <pic>| here|)?",
    "in (what|which) (part|quarter|quadrant|area|section|corner|region|place)( of the <pic>|) "
    "(is|can i find|do you see|lies|sits|would i find) <the> {ref}?",
    "(what|which) (part|quarter|quadrant|area|section|corner|side|place)( of the <pic>|) (holds|"
    "contains|shows|has|is home to) <the> {ref}<here>?",
    "(what|which) (corner|quadrant|quarter|part|area|place) is <the> {ref} in<here>?",
    "<the> {ref} (is|lies|stands|is placed|is located|can be found) (where|in which corner|"
    "in what part|in which quarter|at which place)<here>?",
    "<the> {ref}(,|:) where( is it| does it sit| is that| exactly|)?",
    "<know> (where <the> {ref} (is|sits|lies|can be found)|which corner <the> {ref} is in|where to "
    "find <the> {ref}|the (position|location|place) of <the> {ref})<here>?",
    "<ask> (where <the> {ref} (is|sits|lies)|the (position|place|spot|corner|whereabouts) of <the> "
    "{ref}|in which (corner|part) <the> {ref} is)<here>.",
    "(where|whereabouts) (can|could|would|do|should) (i|you|we|one) "
    "(find|see|spot|locate|look for) <the> {ref}<here>?",
    "whereabouts (is|sits) <the> {ref}<here>?",
    "(find|locate|point to|spot|show me|look for) <the> {ref}<here>(.| for me.| please)",
    "(i can't find|i am looking for|i'm looking for|there is|there's|i see) (the|a) "
    "{ref}<here>(.|,) (where|in which corner|in what part|whereabouts) is it?",
    "(the |)(position|location|place|corner|whereabouts) of <the> {ref}<here>?",
    "where (does|did) (<the> {ref} (sit|lie|stand|appear)|they put <the> {ref})<here>?",
    "where in the <pic> (is|sits|do you see) <the> {ref}?",
    "what('s| is) the (position|location|place|corner) of <the> {ref}<here>?",
)

COUNT = (
    "how many <things> (are there|are <here>|do you see|are shown|are drawn|can you count|"
    "are visible|do you count|can i see|does it have|do we have|have been drawn|exist)<here>?",
    "how many <things> (does|do) (the|this) <pic> (have|contain|include|hold|display)?",
    "how many (different |separate |coloured |)<things><here>?",
    "how many (are there|do you see|can you see|are shown)<here>?",
    "what('s| is) the (number|count|total|total number|amount) of <things>( shown| in all|<here>)?",
    "count (all |up |)(the |all |these |)<things>( in the <pic>| for me| you see| please|).",
    "(the |)(number|total|count|amount) of <things>( shown| please| in all|<here>)?",
    "<know> (how many <things> (there are|you see|are shown)|the number of <things>)<here>?",
    "<ask> (how many <things> (there are|you see|you can see)|the number of <things>)<here>.",
    "(<things>: |)how many( <things>|) in total<here>?",
    "(<things> in total|total <things>|<things> altogether)<here>?",
)

DESCRIBE = (
    "describe (this|what you see in this|what is in the|what's shown in the|all of the) <pic>"
    "( for me| briefly| in a few words| in one sentence| please|).",
    "describe (what you see|what is there|everything you see|the things you see)<here>.",
    "what('s| is) (in|on|shown in|drawn in|visible in|shown on) (the|this|that) <pic>?",
    "what('s| is) (here|there|visible|to be seen|shown here|drawn here)?",
    "what (does|do) (the|this|that) <pic> (show|contain|depict|display|have)?",
    "what (can|could|do) (you|we|i) see( here| in the <pic>| in this <pic>| there)?",
    "(give|write|suggest|provide|make)( me|) a( brief| simple| good| one line| short|) (caption|"
    "description|summary|title)( for| of) (the|this) <pic>.",
    "(caption|summarise|summarize) (this|the) <pic>( please|).",
    "(caption|a description|a short caption|a summary)( of the <pic>| for this <pic>| please|)?",
    "<ask> (what you see|what is (here|there)|what (the|this) <pic> shows|what's shown|"
    "everything you see|all the <things>|the <things>|what there is)<here>.",
    "which <things> (are there|are shown|do you see|are drawn|can you see)<here>?",
    "what <things> (are there|are shown|do you see|are visible|can you see)<here>?",
    "<know> what (you see|is there|is shown|(the|this) <pic> shows|is in the <pic>)?",
    "how would you (describe|caption|title|summarise) (the|this) <pic>?",
)

YESNO_COLOUR = (
    "is <the> {shape}( in the <pic>| here| shown in| drawn in| painted| coloured) {colour}?",
    "is <the> {shape} {colour}( here| in the <pic>| in colour| or not| or another <col>)?",
    "isn't <the> {shape} {colour}<here>?",
    "(does|did) <the> {shape} (appear|seem)( to be|) {colour}( to you|<here>)?",
    "does <the> {shape} (have (a|the) {colour} <col>|have the <col> {colour}|come in {colour}|"
    "look like it is {colour}|look {colour} to you)<here>?",
    "(would|do|can) you (say|think|agree|see|confirm)( that|) <the> {shape} is {colour}<here>?",
    "(would|can|do|should|could) (we|i|one) (call|name|describe as) <the> {shape} {colour}<here>?",
    "would you (describe|see) <the> {shape} as {colour}?",
    "could <the> {shape} be {colour}<here>?",
    "<whether> <the> {shape} (is|looks|appears|seems) {colour}( or not|<here>).",
    "<the> {shape} (is|looks|has to be|must be) {colour}<here>(, |. )<right>?",
    "<the> {shape} is {colour}(?|??| i think| i guess|, i think?)",
    "(is it (correct|right|the case|so)|am i right|do you agree|can it be) that <the> {shape} "
    "(is|looks) {colour}<here>?",
    "it('s| is) true that <the> {shape} is {colour}<here>?",
    "i (think|believe|say|guess) <the> {shape} is {colour}<here>(.|,) <right>?",
    "is {colour} the <col> of <the> {shape}<here>?",
    "is (the <col> of <the> {shape}|<the> {shape}'s <col>) {colour}<here>?",
    "(there is|there's|i see|look at) (a|the) {shape}<here>(.|,) is it {colour}?",
    "(does {colour} (describe|fit|match)|is {colour} right for) <the> {shape}<here>?",
    "true or false: <the> {shape} is {colour}",
    "is <the> {shape} a {colour} <thing>?",
)

YESNO_PRESENCE = (
    "is there (any|one|some|at least one) {ref}( to be seen| anywhere| somewhere| around|<here>)?",
    "is there a {ref}( to be seen| anywhere| somewhere| in it| on it| in the <pic>| here)?",
    "(can|could|do|did|would) you (see|find|spot|notice|detect|make out|recognise) (a|any|one) "
    "{ref}( anywhere| at all| in it|<here>)?",
    "(does|do) (this|the|that) <pic> (have|contain|show|include|depict|hold) (a|any) {ref}?",
    "(do|did|can) (we|i) (have|see|find|spot) (a|any) {ref}<here>?",
    "does it (have|contain|show|include) (a|any) {ref}?",
    "<whether> (there is|there's|you see|you can see|the <pic> has|it contains|the <pic> shows|"
    "we have) (a|any) {ref}( or not| in it|<here>).",
    "are there any {ref}s( in it|<here>)?",
    "(there is|there's|i see|it shows|it has|you can see) a {ref}<here>(, |. )<right>?",
    "(there is|there's) a {ref}<here>(?|, isn't there?|, i think| i guess)",
    "i (think|believe|guess|say) (there is|i see|it has) a {ref}<here>(.|,) <right>?",
    "is (a|any|one) {ref} (present|visible|shown|drawn|there|here|included|in the <pic>)?",
    "is (one|any) of (the|these) <things> a {ref}?",
    "(any|a) {ref}( in the <pic>| here| in it| to see| at all|)?",
    "(has|does) (the|this) <pic> (got|show|have) a {ref}( in it|<here>)?",
    "(i'm looking|i am looking|i look) for a {ref}(.|,) is there (one|any)<here>?",
    "true or false: there is a {ref}<here>",
    "(isn't|wasn't) there a {ref}<here>?",
    "do (i|we) see a {ref}<here>?",
)

TEMPLATES = {
    "colour": COLOUR,
    "shape": SHAPE,
    "position": POSITION,
    "count": COUNT,
    "describe": DESCRIBE,
    "yesno_colour": YESNO_COLOUR,
    "yesno_presence": YESNO_PRESENCE,
}


def expand(rng: random.Random, template: str) -> str:
    """Replace word groups, then make every choice, innermost first; slots stay as they are."""
    while "<" in template:
        for group, words in GROUPS.items():
            template = template.replace(group, words)
    while "(" in template:
        template = CHOICE.sub(lambda match: rng.choice(match[1].split("|")), template)
    return template


def word(rng: random.Random, kind: str) -> str:
    """Produce one question wording of a kind, its slots still open, tidied of double spaces."""
    text = expand(rng, "<front>" + rng.choice(TEMPLATES[kind]))
    return re.sub(r"\s+([?.!,;:])", r"\1", re.sub(r"\s+", " ", text)).strip()
