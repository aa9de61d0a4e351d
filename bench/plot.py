"""Draws the record of `bench.day` for the guides. Matplotlib is no dependency: README.md says how to run it.

The colours are told apart in grey, too, and by readers who do not see all of them.
"""

import argparse
import importlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_LEADING = ("Redirecting", "Draining")
_SHADES = {"Asleep": "#d9d9d9", "Waking": "#fdd49e", "Redirecting": "#efefef", "Draining": "#efefef"}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.plot", description=__doc__.partition("\n")[0])
    parser.add_argument("record", type=Path, help="what bench.day wrote")
    parser.add_argument("picture", type=Path, help="an SVG or PNG file")
    options = parser.parse_args(argv)
    draw(json.loads(options.record.read_text()), options.picture)
    return 0


def draw(record: dict[str, Any], picture: Path) -> None:
    """Requests above, pods below, and the state of sleep behind both."""
    plots: Any = importlib.import_module("matplotlib.pyplot")
    plots.rcParams.update({"svg.hashsalt": "penstock", "font.size": 9, "svg.fonttype": "none"})
    figure, (above, below) = plots.subplots(2, 1, figsize=(8, 4.2), sharex=True, height_ratios=[1, 1])
    samples = record["samples"]
    times = [each["at"] for each in samples]
    above.plot(times, [_rate(record["answered"], at) for at in times], color="#08519c")
    above.set_ylabel("answers per second")
    below.step(times, [each["wanted"] for each in samples], where="post", color="#a63603", label="pods wanted")
    below.step(times, [each["ready"] for each in samples], where="post", color="#08519c", linestyle="--", label="ready")
    below.set_ylabel("pods")
    below.set_yticks(range(5))
    below.set_xlabel("seconds")
    below.legend(loc="upper center", bbox_to_anchor=(0.7, 1.0), frameon=False)
    for axes in (above, below):
        _shade(axes, samples, is_named=axes is below)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(0, times[-1])
    for number, event in enumerate(("first request", "more load", "less load", "no load")):
        at = record["events"][event]
        above.axvline(at, color="#636363", linewidth=0.7)
        # In two rows: what happens soon after has its words beside the first one's.
        above.text(at, 1.02 + 0.1 * (number % 2), event, transform=above.get_xaxis_transform(), ha="center", fontsize=8)
    figure.tight_layout()
    figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None)


def _rate(answered: Sequence[float], at: float, window: float = 2.0) -> float:
    return sum(1 for each in answered if at - window < each <= at) / window


def _shade(axes: Any, samples: Sequence[dict[str, Any]], *, is_named: bool) -> None:
    named: set[str] = set()
    for here, after in itertools.pairwise(samples):
        state = here["state"]
        if state not in _SHADES:
            continue
        axes.axvspan(here["at"], after["at"], color=_SHADES[state], linewidth=0, zorder=0)
        if is_named and state not in named:
            named |= {state, *(_LEADING if state in _LEADING else ())}
            told = "led to the router" if state in _LEADING else state.lower()
            where = axes.get_xaxis_transform()
            axes.text(here["at"] + 0.5, 0.97, told, transform=where, va="top", rotation=90, fontsize=8, color="#525252")


if __name__ == "__main__":
    raise SystemExit(main())
