"""One run: ask, have it judged, learn, and now and then sit an exam; the record of it is plain data."""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, pstdev

import torch
from tqdm import tqdm

from basereward_client import Scheme
from examples.shapes_grpo import exam
from examples.shapes_grpo.grpo import Objective
from examples.shapes_grpo.guide import Guide, Unguided
from examples.shapes_grpo.judge import Judge
from examples.shapes_grpo.learner import Learner
from examples.shapes_grpo.results import Record
from examples.shapes_grpo.world import KINDS, Problem, World

# Group normalisation forgets level and scale; what is left of the sigmoid is that the differences among
# good answers, which are mostly taste, count less than those between good and bad.
SCHEME = Scheme("sigmoid", temperature=2.0)
SIBLINGS = 8
PASSES = 4
RATE = 1e-3


@dataclass(frozen=True)
class Settings:
    seed: int = 1
    steps: int = 400
    groups: int = 64
    kinds: Sequence[str] = KINDS
    most: int = 4  # things in a picture
    problems: int = 1000  # of the exam
    every: int = 25  # steps between exams
    guided: bool = True
    kl: float = Objective.kl


SHORT = Settings(steps=50, groups=32, kinds=("colour", "count"), most=2, problems=400)


def train(settings: Settings, judge: Judge) -> Record:
    load = os.getloadavg()[0]
    torch.manual_seed(settings.seed)
    world = World(f"train-{settings.seed}", "train", settings.kinds, settings.most)
    held_out = World("held-out", "pairings", settings.kinds, settings.most)
    problems = held_out.problems(settings.problems)
    guide = Guide() if settings.guided else Unguided()
    learner = Learner(guide, RATE, settings.steps, Objective(kl=settings.kl))
    served, started = judge.rewards, time.monotonic()
    history = [{"step": 0} | _examine(learner, problems, judge)]
    window: list[Record] = []
    with tqdm(total=settings.steps, desc=f"seed {settings.seed}", unit="step") as bar:
        for step in range(1, settings.steps + 1):
            window.append(_step(learner, world, settings.groups, judge))
            if step % settings.every == 0 or step == settings.steps:
                history.append({"step": step} | _means(window) | _examine(learner, problems, judge))
                window.clear()
            bar.set_postfix_str(_shown(history[-1]), refresh=False)
            bar.update()
    seconds = time.monotonic() - started
    answers = learner.say([p.task for p in problems], greedy=True)
    return {
        "settings": asdict(settings),
        "weights": sum(tensor.numel() for tensor in learner.policy.parameters()),
        "served": {"fingerprint": judge.fingerprint, "numerics": judge.numerics},
        "machine": {"cpus": os.cpu_count(), "load_before": round(load, 2)},
        "seconds": round(seconds, 1),
        "rewards": judge.rewards - served,
        "history": history,
        **exam.against_judge(problems, answers, judge),
    }


def _step(learner: Learner, world: World, groups: int, judge: Judge) -> Record:
    tasks = world.tasks(groups)
    rollout = learner.answer(tasks, SIBLINGS)
    scores = judge.scores(tasks, rollout.texts)
    rewards = torch.tensor([SCHEME.rewards(group) for group in scores])  # [groups, siblings]
    apart = learner.learn(rollout, rewards, PASSES)
    return {
        "reward": fmean(map(fmean, scores)),
        "spread": fmean(map(pstdev, scores)),
        "kl": apart,
    }


def _examine(learner: Learner, problems: Sequence[Problem], judge: Judge) -> Record:
    """Greedy answers, their marks and their mean reward; sampled ones beside them."""
    tasks = [problem.task for problem in problems]
    answers = learner.say(tasks, greedy=True)
    sampled = learner.say(tasks, greedy=False)
    scores = judge.scores(tasks, [[answer] for answer in answers])
    return {
        "right": exam.marks(problems, answers),
        "sampled": exam.marks(problems, sampled)["all"],
        "held_out_reward": round(fmean(row[0] for row in scores), 4),
        "well_formed": [sum(map(exam.is_well_formed, problems, answers)), len(problems)],
        "named": [sum(map(exam.names_it, problems, answers)), len(problems)],
    }


def _means(window: Sequence[Record]) -> Record:
    return {name: round(fmean(step[name] for step in window), 4) for name in window[0]}


def _shown(entry: Record) -> str:
    right, asked = entry["right"]["all"]
    return f"held out: reward {entry['held_out_reward']:.2f}, right {right / asked:.1%}"
