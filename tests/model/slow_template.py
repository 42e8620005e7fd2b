"""Token ids the slow way: every response rendered by the template itself and its stretches tokenised one by one."""

import json
import re

import numpy as np
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from service.core import Picture

HIDE = "\ufdd0"
NO_SYSTEM = "\ufdd1none\ufdd1"


class SlowTemplate:
    """For checkpoints whose system turn is the template's own default, and pool the last token."""

    def __init__(self, folder, chat_template=None):
        self.stock = AutoTokenizer.from_pretrained(folder)
        self.stock.chat_template = chat_template or self.stock.chat_template
        self.control = {str(t): i for i, t in self.stock.added_tokens_decoder.items()}
        names = sorted(self.control, key=len, reverse=True)
        self.pattern = re.compile("(" + "|".join(map(re.escape, names)) + ")")
        spec = json.loads(self.stock.backend_tokenizer.to_str())
        spec["added_tokens"], spec["post_processor"] = [], None
        self.plain = Tokenizer.from_str(json.dumps(spec))

    def encode(self, item, grids):
        return [self._ids(self._render(item, response), iter(grids)) for response in item.responses]

    def _render(self, item, response):
        turns = [{"role": turn.role, "content": self._content(turn.parts)} for turn in item.turns]
        turns.append({"role": "assistant", "content": self._hide(response)})
        if item.system is None:
            return self._apply(turns)
        if item.system:
            return self._apply([{"role": "system", "content": self._hide(item.system)}, *turns])
        marked = {"role": "system", "content": NO_SYSTEM}
        return self._apply([marked, *turns])[len(self._apply([marked])) :]

    def _content(self, parts):
        if all(isinstance(part, str) for part in parts):
            return self._hide("".join(parts))
        return [
            {"type": "image"}
            if isinstance(part, Picture)
            else {"type": "text", "text": self._hide(part)}
            for part in parts
        ]

    def _apply(self, messages):
        return self.stock.apply_chat_template(messages, tokenize=False)

    def _hide(self, text):
        return self.pattern.sub(lambda m: m[0][0] + HIDE + m[0][1:], text.replace(HIDE, HIDE * 2))

    def _ids(self, text, pictures):
        ids = []
        for i, piece in enumerate(self.pattern.split(text)):
            if i % 2 == 0:
                shown = re.sub(f"{HIDE}({HIDE}?)", r"\1", piece)
                ids += self.plain.encode(shown, add_special_tokens=False).ids
            elif piece == "<|image_pad|>":
                ids += [self.control[piece]] * next(pictures).num_tokens
            else:
                ids.append(self.control[piece])
        return np.array(ids, dtype=np.int32)
