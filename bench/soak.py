"""Switches and rollbacks of one real model under constant load, on a real node: `make soak`.

A sentence-embedding model (all-MiniLM-L6-v2) serves three clients that keep their connections and two that make a new
one for each request. Version after version comes up beside it by BlueGreen and gets the traffic; every fourth one is
rolled back instead of kept. At each move of the traffic a request of 20 seconds is open, whose body is sent in pieces:
the pod that has begun it must end it. Nothing here is asserted, but the exit status tells whether all requests and
streams were answered.

before, around, after   latency of the requests sent in the 2 s before the action, in the 2 s from it, and in the 2 s
                        after those; all moves together
last new connection     from just before `kubectl annotate` to the last request on a new connection that the version
                        that is left answered
last kept connection    from the second promote, which ends the hold, to the last request on a kept connection that the
                        old version answered: its server closes those politely while it drains
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine
from bench.timing import spread
from tests import models
from tests.e2e import switches
from tests.e2e.service import Isvc, apply_secret
from tests.e2e.switches import Move, UnderLoad
from tests.e2e.traffic import Answer
from tests.harness import cluster as clusters
from tests.harness import images, object_store, release
from tests.harness.cluster import Cluster, HarnessError

NAMESPACE, SECRET, BUCKET = "soak", "model-bucket", "models"
ROLLED_BACK_EVERY = 4
STREAM_SECONDS = 20.0


@dataclass(frozen=True)
class Seen:
    """All that the clients saw."""

    answers: Sequence[Answer]
    moves: Sequence[Move]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if a request failed, a stream was cut, or it could not run."""
    options = _parser().parse_args(argv)
    was_running = clusters.running("node") is not None
    before = machine.describe()
    try:
        seen = _run(clusters.up("node"), options.switches)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        if not was_running:
            clusters.down("node")
    results = {"machine": before, **_results(seen)}
    print(_table(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 1 if results["counts"]["failed requests"] or results["counts"]["cut streams"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--switches", type=int, default=20, metavar="N", help="how many (default: 20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser


def _run(cluster: Cluster, number: int) -> Seen:
    release.install(cluster, *images.ensure(cluster))
    credentials = object_store.serve(cluster, BUCKET, {switches.PREFIX: models.minilm()})
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={NAMESPACE}", "--timeout=30s")
    apply_secret(cluster, NAMESPACE, SECRET, credentials)
    service = Isvc(cluster, NAMESPACE, "soaked")
    try:
        with switches.under_load(service, SECRET, stream_seconds=STREAM_SECONDS) as model:
            for switch in range(1, number + 1):
                _switch(model, switch)
        return Seen(model.traffic.answers, model.moves)
    finally:
        service.remove()
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _switch(model: UnderLoad, number: int) -> None:
    _tell(model, number, model.switch(f"v{number + 1}"))
    if number % ROLLED_BACK_EVERY:
        model.keep()
        return
    _tell(model, number, model.go_back())


def _tell(model: UnderLoad, number: int, move: Move) -> None:
    took, failed = move.moved - move.began, len(model.traffic.failures)
    print(
        f"{number:>3} {move.verb:<9} {move.source:>4} -> {model.version:<4} {took:5.2f} s, {failed} failed", flush=True
    )


def _results(seen: Seen) -> dict[str, Any]:
    promotes = [move for move in seen.moves if move.verb == "promote"]
    rollbacks = [move for move in seen.moves if move.verb == "rollback"]
    kept = [took for move in promotes if (took := move.last_kept(seen.answers)) is not None]
    return {
        "counts": _counts(seen),
        "latency": {name: spread(_within(seen, window)) for name, window in switches.WINDOWS.items()},
        "promote to last new connection": _extent([move.last_fresh(seen.answers) for move in promotes]),
        "rollback to last new connection": _extent([move.last_fresh(seen.answers) for move in rollbacks]),
        "hold's end to last kept connection": _extent(kept),
        "stream": _extent([move.stream.seconds for move in seen.moves]),
        "failures": [answer.failure for answer in seen.answers if answer.failure is not None][:20],
        "moves": [_described(move, seen.answers) for move in seen.moves],
    }


def _counts(seen: Seen) -> dict[str, int]:
    return {
        "switches": sum(1 for move in seen.moves if move.verb == "promote"),
        "rollbacks": sum(1 for move in seen.moves if move.verb == "rollback"),
        "requests": len(seen.answers),
        "on new connections": sum(1 for answer in seen.answers if answer.is_fresh),
        "failed requests": sum(1 for answer in seen.answers if answer.failure is not None),
        "streams": len(seen.moves),
        "cut streams": sum(1 for move in seen.moves if move.stream.failure is not None),
    }


def _within(seen: Seen, window: tuple[float, float]) -> list[float]:
    return [seconds for move in seen.moves for seconds in move.seconds(seen.answers, window)]


def _extent(samples: Sequence[float]) -> dict[str, float]:
    ordered = sorted(samples)
    return {"p50 s": round(ordered[len(ordered) // 2], 2), "max s": round(ordered[-1], 2)} if ordered else {}


def _described(move: Move, answers: Sequence[Answer]) -> dict[str, Any]:
    kept = move.last_kept(answers)
    return {
        "verb": move.verb,
        "from": move.source,
        "done after s": round(move.moved - move.began, 2),
        "last new connection s": round(move.last_fresh(answers), 2),
        "last kept connection s": None if kept is None else round(kept, 2),
        "stream s": round(move.stream.seconds, 1),
        "stream failed": move.stream.failure,
    }


def _table(results: dict[str, Any]) -> str:
    described = results["machine"]
    lines = ["", f"{described['cpu']}, {described['cores']} cores, load {described['load before'][0]} before"]
    lines += [f"{name:<40}{count:>10}" for name, count in results["counts"].items()]
    lines += ["", f"{'latency':<40}{'p50 ms':>10}{'p99 ms':>10}"]
    lines += [f"{name:<40}{took['p50 ms']:>10}{took['p99 ms']:>10}" for name, took in results["latency"].items()]
    lines += ["", f"{'seconds':<40}{'p50':>10}{'max':>10}"]
    extents = {name: found for name, found in results.items() if isinstance(found, dict) and "max s" in found}
    lines += [f"{name:<40}{took['p50 s']:>10}{took['max s']:>10}" for name, took in extents.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
