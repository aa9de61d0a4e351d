"""The tokenizer, called in a way that never blocks the event loop."""

import asyncio
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from penstock_server.engine.protocol import PromptRefused


class Tokens:
    """Text to token ids and back.

    Only the Rust tokenizer's batch calls are used, in a thread: they release the GIL, where its single calls and
    transformers' own wrapper hold it (measured: 160 ms against 2 ms of stalled loop on 256 kB of text), and they
    change no state, so calls may overlap.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._rust = tokenizer.backend_tokenizer
        # A model's files may carry settings of its training: a text that is silently truncated gives a wrong answer.
        self._rust.no_truncation()
        self._rust.no_padding()

    @property
    def has_chat_template(self) -> bool:
        """Whether conversations can be rendered."""
        return bool(self._tokenizer.chat_template)

    async def encode(self, texts: Sequence[str], *, special: bool = True) -> list[list[int]]:
        """Ids of each text, with the special tokens of the model's template when `special`."""
        encodings = await asyncio.to_thread(self._rust.encode_batch, list(texts), add_special_tokens=special)
        return [encoding.ids for encoding in encodings]

    async def encode_chat(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """Ids of a conversation, ready for the assistant's turn. Raises PromptRefused."""
        text = await asyncio.to_thread(self._render, messages)
        # The template writes the special tokens itself.
        return (await self.encode([text], special=False))[0]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids` without special tokens, spaces untouched."""
        return str(self._rust.decode(list(ids), skip_special_tokens=True))

    def _render(self, messages: Sequence[dict[str, Any]]) -> str:
        if not self.has_chat_template:
            raise PromptRefused("this model has no chat template; use /v1/completions")
        try:
            return str(self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))
        except Exception as error:  # A template is a program, so it may raise anything.
            raise PromptRefused(f"the model's chat template refuses this conversation: {error}") from error
