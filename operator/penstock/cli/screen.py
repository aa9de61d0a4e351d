"""Where a command's words go: lines on stdout, in colours and drawn anew only where a terminal shows them."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

from penstock.cli.layout import Paint, coloured, plain

_HOME_AND_CLEAR: Final = "\x1b[H\x1b[J"


class Screen:
    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty()
        # https://no-color.org: any value but an empty one.
        self.paint: Paint = coloured if self.is_terminal and not environ.get("NO_COLOR") else plain

    def show(self, lines: Sequence[str]) -> None:
        self._write("".join(f"{line}\n" for line in lines))

    def redraw(self, lines: Sequence[str]) -> None:
        """The lines instead of all that stands on the terminal."""
        self._write(_HOME_AND_CLEAR + "".join(f"{line}\n" for line in lines))

    def dump(self, document: Any, *, indent: int | None = 2) -> None:
        self._write(f"{json.dumps(document, indent=indent, ensure_ascii=False)}\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
