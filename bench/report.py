"""The figures for people."""

from collections.abc import Iterator
from typing import Any

_AIMS = {  # at 1,000 services
    "all ready, s": "<= 57 or 1.5x",
    "requests per service, all clients": "<= 32",
    "requests per service, operator": "",
    "operator CPU, s": "<= 30",
    "peak RSS, MB": "<= 160",
    "one more: Deployment exists, ms": "< 50 / 150",
    "idle, % of a core": "< 0.5",
    "all updated, s": "<= 80",
    "acts after a clean restart, s": "< 4",
    "acts after SIGKILL, s": "< 20",
}
_POLLING = "horizontal-pod-autoscaler"
_DRIFT_AIM = "p50 < 200"


def table(results: dict[str, Any]) -> str:
    machine = results["machine"]
    lines = [f"{machine['cpu']}, {machine['cores']} cores, load {machine['load before'][0]} before"]
    for run in results["runs"]:
        lines += ["", f"{run['services']} services", _row("", "without", "Penstock", "ratio", "aim at 1,000")]
        lines += [_row(*row) for row in _rows(run)]
    return "\n".join(lines)


def _rows(run: dict[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    bare, own = run["without operator"], run["operator"]
    created, updated = own["create"], own["update"]
    yield _compared("all ready, s", bare["create"]["seconds"], created["seconds"])
    yield from _requests("requests per service", bare["create"], created)
    yield _own("requests per service, operator", created["requests per service"]["operator"])
    yield _own("operator CPU, s", created["operator CPU s"])
    yield _own("peak RSS, MB", created["operator peak RSS MB"])
    newcomers = own["one more"], bare["one more"]
    title, ratio = "one more: Deployment exists, ms", newcomers[0]["p50 ms"] / newcomers[1]["p50 ms"]
    yield title, _spread(newcomers[1]), _spread(newcomers[0]), f"{ratio:.2f}x", _AIMS[title]
    for kind, repaired in own["drift"].items():
        for how in ("edited", "deleted"):
            yield f"{kind} {how}, repaired, ms", "", _spread(repaired[how]), "", _DRIFT_AIM
    yield _own("acts after a clean restart, s", own["restart after SIGTERM"]["acts after signal s"])
    yield _own("acts after SIGKILL, s", own["restart after SIGKILL"]["acts after signal s"])
    yield _own("idle, % of a core", own["idle"]["% of a core"])
    yield _compared("all updated, s", bare["update"]["seconds"], updated["seconds"])
    yield from _requests("requests per update", bare["update"], updated)
    yield _own("operator CPU of the update, s", updated["operator CPU s"])


def _requests(title: str, *measured: dict[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    """Of all clients; and without the HPA controller, which asks every 15 s, so that a slow run has more of it."""
    counts = [each["requests per service"] for each in measured]
    yield _compared(f"{title}, all clients", *(each["all clients"] for each in counts))
    calm = (each["all clients"] - each["by client"].get(_POLLING, 0) for each in counts)
    yield _compared(f"{title}, HPA's polling left out", *(round(each, 2) for each in calm))


def _compared(title: str, bare: float, own: float) -> tuple[str, str, str, str, str]:
    return title, f"{bare:g}", f"{own:g}", f"{own / bare:.2f}x", _AIMS.get(title, "")


def _own(title: str, value: object) -> tuple[str, str, str, str, str]:
    return title, "", str(value), "", _AIMS.get(title, "")


def _spread(samples: dict[str, float]) -> str:
    return f"{samples['p50 ms']:.0f} / {samples['p99 ms']:.0f}"


def _row(title: str, bare: str, own: str, ratio: str, aim: str) -> str:
    return f"{title:<46}{bare:>10}{own:>14}{ratio:>8}  {aim}".rstrip()
