"""The RL run that learns: GRPO by hand, the guide, the exam, the short form against a real server, and its page."""

import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from examples.shapes_grpo import exam, grpo, report, results
from examples.shapes_grpo.guide import Guide, Unguided
from examples.shapes_grpo.policy import Policy, pixels
from examples.shapes_grpo.run import Settings
from examples.shapes_grpo.words import END, decode, encode, padded
from examples.shapes_grpo.world import KINDS, VALUES, Problem, Task, World, sentences

ROOT = Path(__file__).parents[2]
RUNS = results.read(report.RESULTS)
WIDE = 0.25  # of true accuracy; the short form gains 0.5 to 0.7


class TestAdvantages:
    def test_by_hand(self):
        rewards = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
        expected = torch.tensor([[-0.8, 0.0, 0.8], [0.0, 0.0, 0.0]])  # std 1, floor 0.25
        torch.testing.assert_close(grpo.advantages(rewards, floor=0.25), expected)

    def test_no_group_sees_another(self):
        one = torch.tensor([[0.0, 1.0]])
        both = torch.cat([one, one + 100])
        torch.testing.assert_close(
            grpo.advantages(both, 0.1), grpo.advantages(one, 0.1).expand(2, 2)
        )


class TestLoss:
    @staticmethod
    def slope(log_prob: float, gain: float) -> float:
        """Of the loss, by the log-probability of one word that had 0.5 when it was sampled."""
        new = torch.tensor([[log_prob]], requires_grad=True)
        old = torch.tensor([[0.5]]).log()
        words = grpo.loss(new, old, torch.tensor([[gain]]), grpo.Objective(clip=0.2))
        torch.autograd.backward(words.sum())
        assert new.grad is not None
        return float(new.grad)

    def test_a_good_answer_becomes_likelier_and_a_bad_one_less(self):
        now = torch.tensor(0.5).log().item()
        assert self.slope(now, gain=2.0) == pytest.approx(-2.0)
        assert self.slope(now, gain=-2.0) == pytest.approx(2.0)

    def test_nothing_pulls_beyond_the_clip(self):
        far = torch.tensor(0.7).log().item()  # 1.4 times as likely as it was
        assert self.slope(far, gain=1.0) == 0.0
        assert self.slope(far, gain=-1.0) == pytest.approx(1.4)  # a bad word may always come back

    def test_words_that_were_not_said_do_not_count(self):
        values, spoken = torch.tensor([[1.0, 3.0, 99.0]]), torch.tensor([[1.0, 1.0, 0.0]])
        assert grpo.mean_over_words(values, spoken) == 2.0


def test_the_divergence_is_that_of_the_distributions():
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    each = grpo.divergence(policy.log(), reference.log())
    assert (each > 0).all()
    exact = (policy * (policy / reference).log()).sum()
    torch.testing.assert_close((policy * each).sum(), exact)
    assert (grpo.divergence(policy.log(), policy.log()) == 0).all()


class TestGuide:
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_well_formed_answers_are_all_that_can_be_said(self, kind):
        """Their probabilities sum to 1, under a policy that was never trained."""
        torch.manual_seed(0)
        policy, guide = Policy(), Guide()
        said = [text for value in VALUES[kind] for text in sentences(kind, value)]
        words = padded([*encode(text), END] for text in said)
        node, allowed = guide.start([kind] * len(said)), []
        for word in words.unbind(1):
            allowed.append(guide.allowed(node))
            node = guide.after(node, word)
        context = torch.randn(1, 128).expand(len(said), -1)
        chances = policy.log_probs(context, words, torch.stack(allowed, 1)).sum(1).exp()
        assert chances.sum().item() == pytest.approx(1, abs=1e-5)
        assert [decode(row) for row in words.tolist()] == said

    def test_what_is_sampled_is_well_formed_and_has_the_policys_own_probability(self):
        torch.manual_seed(0)
        problems = World("any", "train").problems(24)
        policy, kinds = Policy(), [problem.task.kind for problem in problems]
        seen = pixels([problem.task.picture for problem in problems])
        context = policy.look(seen, padded(encode(p.task.question) for p in problems))
        words, _ = policy.answer(context, Guide(), kinds)
        answers = [decode(row) for row in words.tolist()]
        assert all(map(exam.is_well_formed, problems, answers))
        assert len(set(answers)) > 8

    def test_answers_come_as_often_as_the_policy_says(self):
        """What the loss takes for an answer's probability is the one that it was sampled with."""
        torch.manual_seed(0)
        task, policy, count = World("any", "train").tasks(1)[0], Policy(), 4000
        context = policy.look(pixels([task.picture]), padded([encode(task.question)]))
        words, allowed = policy.answer(context.expand(count, -1), Guide(), [task.kind] * count)
        chances = policy.log_probs(context.expand(count, -1), words, allowed).sum(1).exp()
        said = [tuple(row) for row in words.tolist()]
        known = dict(zip(said, chances.tolist(), strict=True))
        assert len(known) > 4
        for answer, times in Counter(said).items():
            chance = known[answer]
            assert times / count == pytest.approx(chance, abs=5 * (chance / count) ** 0.5)

    def test_unguided_anything_can_be_said(self):
        guide = Unguided()
        node = guide.start(["colour"])
        for word in encode("there are top left"):
            assert guide.allowed(node)[0, word]
            node = guide.after(node, torch.tensor([word]))
        assert guide.allowed(guide.after(node, torch.tensor([END]))).sum() == 1


class TestWorld:
    def test_a_task_has_no_answer_in_it(self):
        assert {field.name for field in dataclasses.fields(Task)} == {"picture", "kind", "question"}

    def test_a_seed_draws_the_same_again_and_another_others(self):
        one, same, other = (
            [task.picture.tobytes() for task in World(seed, "train").tasks(8)]
            for seed in ("a", "a", "b")
        )
        assert one == same
        assert not set(one) & set(other)

    def test_the_rule_marks_answers(self):
        problem = next(p for p in World("x", "pairings", ["colour"]).problems(1))
        problem = Problem(problem.task, "red")
        assert exam.is_right(problem, "It is red.")
        assert exam.is_right(problem, "Red.")
        for wrong in ("It is blue.", "It is red", "It is.", "Red. Blue.", ""):
            assert not exam.is_right(problem, wrong)
        assert exam.marks([problem] * 2, ["Red.", "Blue."])["all"] == [1, 2]
        assert exam.names_it(problem, "red red")
        assert not exam.names_it(problem, "Red. Blue.")

    def test_the_interval_is_wilsons(self):
        assert exam.interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_the_short_form_learns_from_a_real_server(tmp_path):
    command = [sys.executable, "-m", "examples.shapes_grpo", "--short", "--out", str(tmp_path)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("BASEREWARD_")}
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (run,) = results.read(tmp_path / "results.json")
    first, last = run["history"][0], run["history"][-1]
    _, chance = exam.interval(*first["right"]["all"])
    low, _ = exam.interval(*last["right"]["all"])
    assert low > chance + WIDE
    assert last["held_out_reward"] > first["held_out_reward"] + 1
    assert last["right"]["all"][0] / last["right"]["all"][1] > 0.5
    # The page is about the checkpoint that ships.
    assert {known["served"]["fingerprint"] for known in RUNS} == {run["served"]["fingerprint"]}


class TestPage:
    def test_it_says_what_the_results_say(self):
        assert report.PAGE.read_text("utf-8") == report.page(RUNS)
        assert report.PAGE.with_name(report.PLOT).stat().st_size > 10_000

    def test_three_seeds_learn_with_the_settings_of_the_code(self):
        runs = report.learning(RUNS)
        seeds = {run["settings"]["seed"] for run in runs}
        assert len(seeds) == len(runs) >= 3
        for run in runs:
            assert Settings(**run["settings"] | {"kinds": KINDS}) == Settings(
                seed=run["settings"]["seed"]
            )
            assert tuple(run["settings"]["kinds"]) == KINDS
            before, after = (run["history"][i]["right"]["all"] for i in (0, -1))
            assert exam.interval(*before)[1] < 0.35
            assert exam.interval(*after)[0] > 0.85

    def test_runs_of_other_settings_are_left_out(self):
        other = json.loads(json.dumps(RUNS[-1]))
        other["settings"] |= {"steps": 50, "kinds": ["colour", "count"]}
        assert report.page([*RUNS, other]) == report.page(RUNS)
