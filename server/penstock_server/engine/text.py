"""From tokens to text that can be sent: whole characters only, and nothing of a stop string."""

from collections.abc import Callable, Sequence

REPLACEMENT = "�"
# A character has at most 4 bytes, so at most 4 byte tokens: a longer run that still ends in the replacement character
# is garbage the model wrote, and is sent as such instead of being held (and decoded again and again) to the end.
LONGEST_HOLD_TOKENS = 16

Decode = Callable[[Sequence[int]], str]


class Detokenizer:
    """Turns one token after the other into text, holding back the bytes of an unfinished character.

    A token's text depends on its neighbours (leading spaces, split characters), so each step decodes a short window
    that starts where text was last complete, and returns what the window's text has grown by.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._window = 0  # where the decoded window starts
        self._sent = 0  # tokens before this one are in the text already returned

    def add(self, token: int) -> str:
        """The text that became complete with this token; often empty."""
        self._ids.append(token)
        text = self._new_text()
        held = len(self._ids) - self._sent
        if text.endswith(REPLACEMENT) and held < LONGEST_HOLD_TOKENS:
            return ""
        return self._advance(text)

    def flush(self) -> str:
        """What was held back when generation ended."""
        return self._advance(self._new_text())

    def _new_text(self) -> str:
        before = self._decode(self._ids[self._window : self._sent])
        return self._decode(self._ids[self._window :])[len(before) :]

    def _advance(self, text: str) -> str:
        # Tokens without text of their own (special ones) must not become the whole window: decoded alone, the next
        # token would lose its leading space.
        if text:
            self._window, self._sent = self._sent, len(self._ids)
        return text


class StopStrings:
    """Watches a stream of text for the first stop string to be completed, wherever the pieces are cut."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def add(self, text: str) -> tuple[str, bool]:
        """(what may be sent now, whether a stop string ended the stream)."""
        self._held += text
        found = self._earliest()
        if found is not None:
            sent, self._held = self._held[:found], ""
            return sent, True
        keep = self._partial_length()
        cut = len(self._held) - keep
        sent, self._held = self._held[:cut], self._held[cut:]
        return sent, False

    def flush(self) -> str:
        """What was held back when generation ended for another reason."""
        held, self._held = self._held, ""
        return held

    def _earliest(self) -> int | None:
        """Start of the match that is completed first; of several completed together, the longest."""
        starts = [(start + len(stop), start) for stop in self._stops if (start := self._held.find(stop)) >= 0]
        return min(starts)[1] if starts else None

    def _partial_length(self) -> int:
        """Length of the longest tail that may yet grow into a stop string."""
        return max((_overlap(self._held, stop) for stop in self._stops), default=0)


def _overlap(text: str, stop: str) -> int:
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
