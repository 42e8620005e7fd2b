"""The exam: held-out problems, marked by rule from the known scene, never by the reward model."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from examples.shapes_grpo.judge import Judge
from examples.shapes_grpo.world import VALUES, Problem, sentences

NORMAL_95 = 1.959964
EXAMPLES = 8


def is_right(problem: Problem, answer: str) -> bool:
    """Whether it says the right value, in one of the well-formed ways, and nothing else."""
    return answer in sentences(problem.task.kind, problem.right)


def is_well_formed(problem: Problem, answer: str) -> bool:
    return answer in _possible(problem)


def names_it(problem: Problem, answer: str) -> bool:
    """Whether it names the right value and no other, however badly put."""
    named = {value for value in VALUES[problem.task.kind] if value in answer.lower()}
    return named == {problem.right}


def marks(problems: Sequence[Problem], answers: Sequence[str]) -> dict[str, list[int]]:
    """[right, asked] of each kind and over "all"."""
    right, asked = Counter[str](), Counter[str]()
    for problem, answer in zip(problems, answers, strict=True):
        for label in ("all", problem.task.kind):
            right[label] += is_right(problem, answer)
            asked[label] += 1
    return {label: [right[label], asked[label]] for label in sorted(asked)}


def against_judge(
    problems: Sequence[Problem], answers: Sequence[str], judge: Judge
) -> dict[str, Any]:
    """What the judge thinks of every well-formed answer: how far it can be believed, and whether it was fooled.

    `judge`: where its favourite is right. `overrated`: where the policy's answer is not right and scores above
    the right one. Both are [problems, of all]. `examples`: [question, right value, answer, its score].
    """
    said = [[*_possible(p), answer] for p, answer in zip(problems, answers, strict=True)]
    scores = judge.scores([p.task for p in problems], said)
    believed = overrated = 0
    for problem, texts, row in zip(problems, said, scores, strict=True):
        best = max(score for text, score in zip(texts, row, strict=True) if is_right(problem, text))
        believed += best == max(row[:-1])
        overrated += not is_right(problem, texts[-1]) and row[-1] > best
    return {
        "judge": [believed, len(problems)],
        "overrated": [overrated, len(problems)],
        "examples": [
            [problem.task.question, problem.right, texts[-1], round(row[-1], 2)]
            for problem, texts, row in zip(problems[:EXAMPLES], said, scores, strict=False)
        ],
    }


def interval(right: int, asked: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share, square = right / asked, NORMAL_95**2
    middle = (share + square / (2 * asked)) / (1 + square / asked)
    spread = math.sqrt(share * (1 - share) / asked + square / (4 * asked**2))
    half = NORMAL_95 * spread / (1 + square / asked)
    return middle - half, middle + half


def _possible(problem: Problem) -> list[str]:
    kind = problem.task.kind
    return [text for value in VALUES[kind] for text in sentences(kind, value)]
