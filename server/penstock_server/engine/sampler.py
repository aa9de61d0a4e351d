"""Choosing the next token: per-request settings and an own random generator, so neighbours never change a result."""

import secrets
from collections.abc import Sequence

import torch
from transformers import LogitsProcessor

from penstock_server.engine.protocol import EngineFailed, Sampling

SEED_SPACE = 2**63
COLDEST = 1e-5  # Below it float32 overflows, and the likeliest token would be drawn anyway.


class Sampler(LogitsProcessor):
    """Penalties, temperature, top-k and top-p, then one draw; as a logits processor of `generate(do_sample=False)`.

    `generate` takes the argmax of what this returns. Greedy requests get penalised logits back; sampled ones get a
    row that is finite only at the token drawn here, because `generate`'s own draw knows no per-request generator.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int], *, vocabulary: int, device: torch.device) -> None:
        self._sampling = sampling
        self._prompt_length = len(prompt)
        self._generator = torch.Generator(device)
        self._generator.manual_seed(_seed(sampling.seed))
        self._generated = torch.zeros(vocabulary, device=device)  # times each token was generated, 1D float32
        self._prompt_seen = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        self._prompt_seen[torch.tensor(prompt, device=device)] = True

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """`input_ids` [1, tokens so far], `scores` [1, vocabulary] float32 logits; returns the same shape."""
        if input_ids.shape[1] > self._prompt_length:
            self._generated[input_ids[0, -1]] += 1
        logits = self._penalised(scores[0])
        if logits.isnan().any():
            raise EngineFailed("the model gave numbers that are not finite")
        if self._sampling.temperature < COLDEST:
            return logits[None]  # type: ignore[return-value]
        token = self._draw(logits / self._sampling.temperature)
        chosen = torch.full_like(logits, float("-inf"))
        chosen[token] = 0.0
        return chosen[None]  # type: ignore[return-value]

    def _penalised(self, logits: torch.Tensor) -> torch.Tensor:
        wanted = self._sampling
        if wanted.repetition_penalty != 1:
            factor = torch.where(logits > 0, 1 / wanted.repetition_penalty, wanted.repetition_penalty)
            logits = torch.where(self._prompt_seen | (self._generated > 0), logits * factor, logits)
        if wanted.presence_penalty or wanted.frequency_penalty:
            logits = (
                logits - wanted.presence_penalty * (self._generated > 0) - wanted.frequency_penalty * self._generated
            )
        return logits

    def _draw(self, logits: torch.Tensor) -> torch.Tensor:
        """One token id, 0D int64. The smallest of exponential waiting times with rates p is a draw from p."""
        if self._sampling.top_k:
            kth = logits.topk(min(self._sampling.top_k, len(logits))).values[-1]
            logits = logits.masked_fill(logits < kth, float("-inf"))
        probabilities = logits.softmax(-1)
        if self._sampling.top_p < 1:
            probabilities = _nucleus(probabilities, self._sampling.top_p)
        waiting = torch.empty_like(probabilities).exponential_(generator=self._generator)
        return (probabilities / waiting).argmax()


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Zero all but the smallest set of likeliest tokens whose mass reaches `top_p` (Holtzman et al. 2019)."""
    ordered, order = probabilities.sort(descending=True)
    # The mass before a token decides, so that the token which crosses the border stays.
    outside = ordered.cumsum(-1) - ordered >= top_p
    outside[0] = False
    return probabilities.masked_fill(torch.zeros_like(outside).scatter(0, order, outside), 0.0)


def _seed(seed: int | None) -> int:
    return secrets.randbelow(SEED_SPACE) if seed is None else seed % SEED_SPACE
