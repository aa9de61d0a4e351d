"""A service's HTTPRoute, and what the gateways make of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.names import Slot


@dataclass(frozen=True, slots=True)
class SeenRoute:
    """`shares`: percent of the requests that it gives to each slot; empty where it leads to the active Service."""

    shares: Mapping[Slot, int] = field(default_factory=dict)
    variant: Slot | None = None  # gets the requests that an A/B test marks
    is_taken: bool = True  # every gateway has acted on what is written now; also while none looks at it
    is_accepted: bool = False  # and at least one leads its requests by it
    refusal: str | None = None  # why one does not, in its own words

    def may_lead_to(self, slot: Slot) -> bool:
        """Requests may still be led to the slot itself. What a gateway has not acted on yet, may be as it was."""
        return not self.is_taken or self.variant is slot or self.shares.get(slot, 0) > 0


def parse(route: Mapping[str, Any], services: Mapping[str, Slot]) -> SeenRoute:
    """Parse a projected HTTPRoute; `services` are those of the slots, by name."""
    rules = route["spec"].get("rules") or []
    verdicts = list(_verdicts(route))
    generation = route["metadata"].get("generation", 1)
    is_taken = all(verdict.get("observedGeneration", 0) >= generation for verdict in verdicts)
    refused = [verdict for verdict in verdicts if verdict.get("status") == "False"]
    return SeenRoute(
        shares=_slots([rule for rule in rules if not _is_marked(rule)], services),
        variant=next(iter(_slots([rule for rule in rules if _is_marked(rule)], services)), None),
        is_taken=is_taken,
        is_accepted=bool(verdicts) and is_taken and not refused,
        refusal=f"{refused[0].get('reason', '')}: {refused[0].get('message', '')}" if refused else None,
    )


def _slots(rules: Iterable[Mapping[str, Any]], services: Mapping[str, Slot]) -> dict[Slot, int]:
    """The weights of those rules' slots."""
    backends = (ref for rule in rules for ref in rule.get("backendRefs") or [])
    return {services[ref["name"]]: ref.get("weight", 1) for ref in backends if ref["name"] in services}


def _is_marked(rule: Mapping[str, Any]) -> bool:
    """It is for requests with a certain header alone."""
    return any(match.get("headers") for match in rule.get("matches") or [])


def _verdicts(route: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The conditions that tell whether a gateway leads requests by the route (GEP-1364), of each gateway."""
    for parent in (route.get("status") or {}).get("parents") or []:
        for condition in parent.get("conditions") or []:
            if condition.get("type") in ("Accepted", "ResolvedRefs"):
                yield condition
