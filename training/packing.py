"""Packing: one row per picture, holding a tree of questions and answers over a shared prefix."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import torch
from transformers import Qwen2Tokenizer

from training.pictures import MERGE
from training.questions import Question

SHARED = -1
PADDING = -2


@dataclass
class Row:
    """The tokens of one picture and where each stands in the tree."""

    ids: list[int]
    question: list[int]
    answer: list[int]
    position: list[int]

    def extend(self, ids: list[int], question: int, answer: int, start: int) -> None:
        """Append tokens of one branch, their positions counting from `start`."""
        self.ids += ids
        self.question += [question] * len(ids)
        self.answer += [answer] * len(ids)
        self.position += range(start, start + len(ids))


@dataclass
class Batch:
    """What one training step reads; indices are into the flattened [rows * length] tokens."""

    ids: torch.Tensor  # [rows, length]
    positions: torch.Tensor  # [3, rows, length]
    mask: torch.Tensor  # [rows, 1, length, length]
    image_at: slice
    ends: torch.Tensor  # [answers]: where each answer's closing token stands
    better: torch.Tensor  # [pairs]: indices into ends
    worse: torch.Tensor  # [pairs]
    kinds: list[str]  # one per pair
    before: torch.Tensor  # [right tokens]: the token before each token of a right answer
    target: torch.Tensor  # [right tokens]
    weight: torch.Tensor  # [right tokens]


@dataclass
class Marks:
    """Indices collected while rows are being written."""

    ends: list[int] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    target: list[int] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)


class Packer:
    """Writes questions about equally large pictures into batches."""

    def __init__(self, tokenizer: Qwen2Tokenizer) -> None:
        self.encode = lru_cache(50_000)(
            lambda text: tuple(tokenizer(text, split_special_tokens=True)["input_ids"])
        )
        special = tokenizer.convert_tokens_to_ids
        self.start, self.end = special("<|im_start|>"), special("<|im_end|>")
        self.image, self.pad = special("<|image_pad|>"), special("<|endoftext|>")
        self.seen, self.shown = special("<|vision_start|>"), special("<|vision_end|>")

    def opening(self) -> list[int]:
        """The tokens before the picture: the default system turn and the start of the user's."""
        system = self.encode("system\nYou are a helpful assistant.")
        newline, user = self.encode("\n"), self.encode("user\n")
        return [self.start, *system, self.end, *newline, self.start, *user, self.seen]

    def question(self, text: str) -> list[int]:
        """The tokens of a question up to where the answer starts."""
        assistant = self.encode("assistant\n")
        return [*self.encode(text), self.end, *self.encode("\n"), self.start, *assistant]

    def prefix(self, rows: int, columns: int) -> Row:
        """The part all questions share: opening, picture, closing mark."""
        cells = (rows // MERGE) * (columns // MERGE)
        opening = self.opening()
        row = Row([], [], [], [])
        row.extend([*opening, *[self.image] * cells], SHARED, SHARED, 0)
        # After a picture the counter moves on by its longer side only, as Qwen2.5-VL does it.
        row.extend([self.shown], SHARED, SHARED, len(opening) + max(rows, columns) // MERGE)
        return row

    def write(self, row: Row, marks: Marks, questions: list[Question], base: int) -> None:
        """Append questions with all their answers to a row that starts at flat index `base`."""
        shared = row.position[-1] + 1
        for number, question in enumerate(questions):
            asked = self.question(question.text)
            row.extend(asked, number, SHARED, shared)
            root, right = base + len(row.ids) - 1, len(marks.ends)
            for index, text in enumerate((question.right, *question.wrongs)):
                tokens, first = [*self.encode(text), self.end], base + len(row.ids)
                row.extend(tokens, number, index, shared + len(asked))
                marks.ends.append(first + len(tokens) - 1)
                if index == 0:
                    marks.before += [root, *range(first, first + len(tokens) - 1)]
                    marks.target += tokens
                    marks.weight += [len(tokens) ** -0.5] * len(tokens)
                else:
                    marks.pairs.append((right, right + index))
                    marks.kinds.append(question.kind)

    def pack(self, questions: list[list[Question]], rows: int, columns: int) -> Batch:
        """Write one batch: a list of questions per picture, all pictures on the same grid."""
        written = []
        for asked in questions:
            row, marks = self.prefix(rows, columns), Marks()
            self.write(row, marks, asked, 0)
            written.append((row, marks))
        return self.assemble(written, rows, columns)

    def assemble(self, written: list[tuple[Row, Marks]], rows: int, columns: int) -> Batch:
        """Pad the rows to one length and shift every index to its row."""
        length = max(len(row.ids) for row, _ in written)
        all_marks, answers = Marks(), 0
        for number, (_, marks) in enumerate(written):
            shift = number * length
            all_marks.ends += [shift + at for at in marks.ends]
            all_marks.pairs += [(a + answers, b + answers) for a, b in marks.pairs]
            all_marks.kinds += marks.kinds
            all_marks.before += [shift + at for at in marks.before]
            all_marks.target += marks.target
            all_marks.weight += marks.weight
            answers += len(marks.ends)
        table = torch.tensor([padded(row, length, self.pad) for row, _ in written])
        ids, question, answer, position = table.unbind(1)  # each [rows, length]
        first = len(self.opening())
        cells = (rows // MERGE) * (columns // MERGE)
        positions = position.repeat(3, 1, 1)
        positions[:, :, first : first + cells] = cell_positions(first, rows, columns)[:, None]
        better, worse = torch.tensor(all_marks.pairs, dtype=torch.long).view(-1, 2).unbind(1)
        return Batch(
            ids=ids,
            positions=positions,
            mask=tree_mask(question, answer),
            image_at=slice(first, first + cells),
            ends=torch.tensor(all_marks.ends),
            better=better,
            worse=worse,
            kinds=all_marks.kinds,
            before=torch.tensor(all_marks.before),
            target=torch.tensor(all_marks.target),
            weight=torch.tensor(all_marks.weight),
        )


def padded(row: Row, length: int, pad: int) -> list[list[int]]:
    """List a row's four columns, filled up to `length`."""
    rest = length - len(row.ids)
    fillers = ((row.ids, pad), (row.question, PADDING), (row.answer, PADDING), (row.position, 0))
    return [values + [filler] * rest for values, filler in fillers]


def cell_positions(first: int, rows: int, columns: int) -> torch.Tensor:
    """Give each cell of a picture its time, row and column, counted from `first`: [3, cells]."""
    down, across = rows // MERGE, columns // MERGE
    row = torch.arange(down).repeat_interleave(across)
    column = torch.arange(across).repeat(down)
    return first + torch.stack([torch.zeros_like(row), row, column])


def tree_mask(question: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    """Let each token see earlier tokens of its own branch: [rows, 1, length, length]."""
    ask_from, ask_to = question[:, :, None], question[:, None, :]
    from_, to = answer[:, :, None], answer[:, None, :]
    branch = (ask_to == SHARED) | (ask_to == ask_from)
    leaf = (to == SHARED) | (to == from_)
    earlier = torch.ones(question.shape[1], question.shape[1]).tril().bool()
    return (branch & leaf & earlier)[:, None]
