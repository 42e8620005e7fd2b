"""The packed step: one row for many groups, each distinct token once; stock modules, our own order of work."""

import math
import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.models.qwen2_vl import modeling_qwen2_vl

from service.core import Patches
from service.model.attention import Attend, Packing, Path, PrefixRows, Segments, install, plan_sdpa
from service.model.banks import Banks, Feature, Key, Prefix, Promise, UnkeptPromise
from service.model.head import RewardHead
from service.model.member import Member
from service.model.merged import find_merged
from service.model.pixels import PixelShape
from service.model.row import Row, build_row, context_spans
from service.model.transfer import Ready, Transfer
from service.model.varlen import find_varlen
from service.model.vision import VisionPlan, VisionTower


@dataclass(frozen=True, slots=True)
class PackedStep:
    """On the device. L rows, T of them picture tokens, U distinct pooled tokens."""

    ready: Ready
    ids: Tensor  # [1, L]
    positions: Tensor  # [3, 1, L]
    image_at: Tensor  # [T] rows
    image_from: Tensor  # [T] index into the features, one picture after the other
    features: dict[Key, Feature]  # of the pictures in the row
    vision: VisionPlan | None  # what had no features when it was staged
    attend: Attend
    attend_pooled: Attend
    pooled: Tensor  # [U] rows
    unencoded: tuple[Feature, ...]  # in the plan's order
    patches: int  # of theirs
    known: dict[Key, Prefix]
    keep: tuple[tuple[Key, Prefix, Path], ...]
    promise: Promise  # of these


class PackedPass:
    """The backbone and head of one checkpoint, run over packed rows."""

    def __init__(
        self, backbone: Any, head: RewardHead, shape: PixelShape, banks: Banks, device: torch.device
    ) -> None:
        self._text = backbone.language_model
        self._head = head
        self._shape = shape
        self._banks = banks
        self._device = device
        self._varlen = find_varlen(device, self._text.dtype)
        config = self._text.config
        sharing = config.num_attention_heads // config.num_key_value_heads
        self._merged = find_merged(device, self._text.dtype, sharing)
        self._transfer = Transfer(device)
        self._tower = VisionTower(backbone.visual, shape, self._varlen, self._transfer)
        install(self._text)
        config = self._text.config
        self._token_bytes = config.hidden_size * self._text.dtype.itemsize
        head_dim = config.hidden_size // config.num_attention_heads
        self._row_bytes = (
            2 * config.num_key_value_heads * head_dim * self._text.dtype.itemsize
        ) * config.num_hidden_layers

    def stage(self, members: Sequence[Member]) -> tuple[PackedStep, Row]:
        """Lay out the members and bring what their step needs to the device."""
        known = self._known(members)
        row = build_row(members, {key: prefix.tokens for key, prefix in known.items()}, self._shape)
        with self._transfer.staging() as ready:
            return self._copied(members, row, known, ready), row

    def _copied(
        self, members: Sequence[Member], row: Row, known: dict[Key, Prefix], ready: Ready
    ) -> PackedStep:
        features = {key: self._feature(key, p) for key, p in row.pictures.items()}
        # Read once: the running step may be making some of these features right now.
        todo = [(f, p) for f in features.values() if (p := f.patches) is not None]
        promise = Promise()
        return PackedStep(
            ready=ready,
            ids=self._on(row.ids[None]),
            positions=self._on(row.positions[:, None]),
            image_at=self._on(row.image_at),
            image_from=self._on(row.image_from),
            features=features,
            vision=self._tower.plan([p for _, p in todo]) if todo else None,
            attend=self._plan(row.segments),
            attend_pooled=self._plan(row.pooled),
            pooled=self._on(np.array([path[-1][1] - 1 for path in row.pooled.paths])),
            unencoded=tuple(f for f, _ in todo),
            patches=sum(p.grid_h * p.grid_w for _, p in todo),
            known=known,
            keep=self._keep(members, row, known, promise),
            promise=promise,
        )

    @torch.inference_mode()
    def score(self, step: PackedStep) -> list[float]:
        """The head's output at each of the row's distinct pooled tokens."""
        try:
            rewards = self._score(step)
        except BaseException:
            self._forget(step)
            raise
        if not all(map(math.isfinite, rewards)):
            self._forget(step)
        return rewards

    def _forget(self, step: PackedStep) -> None:
        """Keep nothing of a step that went wrong: nobody may wait for it, nor be given its numbers."""
        for key, _, _ in step.keep:
            self._banks.prefixes.discard(key)
        for key, prefix in step.known.items():
            if prefix.layers is None:  # the step that promised it has failed, or was not run
                self._banks.prefixes.discard(key)
        for key in step.features:
            self._banks.features.discard(key)

    def _score(self, step: PackedStep) -> list[float]:
        step.ready.wait()
        text = self._text
        hidden = text.embed_tokens(step.ids)  # [1, L, hidden]
        if step.features:
            rows = self._features(step)
            hidden[0, step.image_at] = rows[step.image_from].to(hidden.dtype)
        rope = text.rotary_emb(hidden, step.positions)
        prefixes = PrefixRows(_filled(step.known.values()), tuple(path for _, _, path in step.keep))
        packing = Packing(step.attend, prefixes)
        for layer in text.layers[:-1]:
            hidden = layer(hidden, position_embeddings=rope, packing=packing)
        pooled = _last_layer(text.layers[-1], hidden, rope, step, prefixes)
        for i, (_, prefix, _) in enumerate(step.keep):
            prefix.layers = [kept[i] for kept in prefixes.kept]
        rewards: list[float] = self._head(text.norm(pooled)[0]).tolist()
        return rewards

    def _features(self, step: PackedStep) -> Tensor:
        """Encode what nobody has encoded in the meantime; features of all pictures: [V, hidden]."""
        missing = tuple(f for f in step.features.values() if f.rows is None)
        if missing:
            same = len(missing) == len(step.unencoded)  # they only ever become fewer
            plan = (
                step.vision if same else self._tower.plan([f.patches for f in missing if f.patches])
            )
            assert plan is not None
            encoded = torch.split(self._tower.features(plan), list(plan.tokens))
            for feature, rows in zip(missing, encoded, strict=True):
                feature.rows = rows.clone()  # a view would keep every picture of this step alive
                feature.patches = None
        return torch.cat([f.rows for f in step.features.values() if f.rows is not None])

    def _feature(self, key: Key, patches: Patches) -> Feature:
        """The bank's, or a new one that the bank knows from now on: later steps need not encode it."""
        found = self._banks.features.get(key)
        if found is None:
            found = Feature(patches)
            self._banks.features.put(key, found, patches.num_tokens * self._token_bytes)
        return found

    def _known(self, members: Sequence[Member]) -> dict[Key, Prefix]:
        keys = dict.fromkeys(m.context for m in members if m.example.prefix_key)
        found = {key: self._banks.prefixes.get(key) for key in keys}
        return {key: prefix for key, prefix in found.items() if prefix and prefix.is_to_be_had}

    def _keep(
        self, members: Sequence[Member], row: Row, known: dict[Key, Prefix], promise: Promise
    ) -> tuple[tuple[Key, Prefix, Path], ...]:
        """Contexts that this step computes and the bank has room for."""
        bank, kept = self._banks.prefixes, []
        if bank.max_bytes == 0:
            return ()
        for key, paths in context_spans(members, row).items():
            tokens = sum(stop - start for start, stop in paths)
            if key not in known and tokens * self._row_bytes <= bank.max_bytes:
                prefix = Prefix(tokens, weakref.ref(promise))
                bank.put(key, prefix, tokens * self._row_bytes)
                kept.append((key, prefix, paths))
        return tuple(kept)

    def _plan(self, segments: Segments) -> Attend:
        if self._varlen is not None:
            return self._varlen.plan(segments, self._transfer.to_device)
        if self._merged is not None:
            return self._merged(segments)
        return plan_sdpa(segments, self._device)

    def _on(self, array: Any) -> Tensor:
        return self._transfer.to_device(torch.from_numpy(array))


def activation_bytes(backbone: Any) -> int:
    """An upper estimate of what one token of a step takes beside the weights: the widest layer's
    products, in the language model and, four patches a token, in the vision tower.
    """
    text, vision = backbone.config.text_config, backbone.config.vision_config
    inner = getattr(vision, "intermediate_size", 4 * backbone.visual.patch_embed.embed_dim)
    width = 12 * text.hidden_size + 3 * text.intermediate_size
    tower = 4 * (12 * backbone.visual.patch_embed.embed_dim + 3 * inner)
    return int(max(width, tower) * backbone.dtype.itemsize)


def _filled(known: Collection[Prefix]) -> list[Any]:
    if any(prefix.layers is None for prefix in known):
        raise UnkeptPromise("a context was not computed")
    return [prefix.layers for prefix in known]


def _last_layer(
    layer: Any,
    hidden: Tensor,  # [1, L, hidden]
    rope: tuple[Tensor, Tensor],
    step: PackedStep,
    prefixes: PrefixRows,
) -> Tensor:
    """The last decoder layer, for pooled tokens alone: keys and values of all, the rest of U: [1, U, hidden]."""
    attention = layer.self_attn
    x = layer.input_layernorm(hidden)
    at = step.pooled
    cos, sin = rope
    query = _rotated(_heads(attention.q_proj(x[:, at]), attention), cos[:, at], sin[:, at])
    key = _rotated(_heads(attention.k_proj(x), attention), cos, sin)
    value = _heads(attention.v_proj(x), attention)
    key, value = prefixes.extend(attention.layer_idx, key, value)
    seen = step.attend_pooled(query, key, value, attention.scaling)  # [U, heads, head dim]
    pooled = hidden[:, at] + attention.o_proj(seen.flatten(1))[None]
    result: Tensor = pooled + layer.mlp(layer.post_attention_layernorm(pooled))
    return result


def _heads(x: Tensor, attention: Any) -> Tensor:
    """[1, rows, heads * dim] to [1, heads, rows, dim]."""
    return x.view(1, x.shape[1], -1, attention.head_dim).transpose(1, 2)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    result: Tensor = x * cos + modeling_qwen2_vl.rotate_half(x) * sin
    return result
