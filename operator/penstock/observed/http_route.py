"""A service's HTTPRoute, and what the gateways make of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from penstock.names import Slot


@dataclass(frozen=True, slots=True)
class SeenRoute:
    """`shares`: percent of the requests that it gives to each slot; empty where it leads to the active Service."""

    shares: Mapping[Slot, int] = field(default_factory=dict)
    variant: Slot | None = None  # gets the requests that an A/B test marks
    is_taken: bool = True  # every gateway has acted on what is written now; also while none looks at it
    is_accepted: bool = False  # and at least one routes by it
    refusal: str | None = None  # why one does not, in its own words

    def may_send_to(self, slot: Slot) -> bool:
        """Requests may still be sent to the slot itself. What a gateway has not acted on yet, may be as it was."""
        return not self.is_taken or self.variant is slot or self.shares.get(slot, 0) > 0


def parse(route: Mapping[str, Any], services: Mapping[str, Slot]) -> SeenRoute:
    """Parse a projected HTTPRoute; `services` are those of the slots, by name."""
    rules = route["spec"].get("rules") or []
    gateways = [_Verdict.of(conditions, route["metadata"].get("generation", 1)) for conditions in _by_gateway(route)]
    return SeenRoute(
        shares=_slots([rule for rule in rules if not _is_marked(rule)], services),
        variant=next(iter(_slots([rule for rule in rules if _is_marked(rule)], services)), None),
        is_taken=all(each.is_taken for each in gateways),
        is_accepted=any(each.is_accepted for each in gateways),
        refusal=next((each.refusal for each in gateways if each.refusal), None),
    )


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What one gateway makes of the route."""

    is_taken: bool
    is_accepted: bool
    refusal: str | None

    @classmethod
    def of(cls, conditions: Mapping[str, Mapping[str, Any]], generation: int) -> Self:
        """From Accepted and ResolvedRefs, which every gateway tells (GEP-1364)."""
        reported = [conditions[kind] for kind in ("Accepted", "ResolvedRefs") if kind in conditions]
        refused = next((each for each in reported if each.get("status") == "False"), None)
        is_taken = all(each.get("observedGeneration", 0) >= generation for each in reported)
        is_accepted = conditions.get("Accepted", {}).get("status") == "True" and refused is None
        refusal = f"{refused.get('reason', '')}: {refused.get('message', '')}" if refused else None
        return cls(is_taken, is_taken and is_accepted, refusal)


def _by_gateway(route: Mapping[str, Any]) -> Iterator[Mapping[str, Mapping[str, Any]]]:
    """The conditions by type, for each gateway that the spec names: one that it named before may have left its own."""
    namespace = route["metadata"].get("namespace")
    named = {_identity(ref, namespace) for ref in route["spec"].get("parentRefs") or []}
    for parent in (route.get("status") or {}).get("parents") or []:
        if _identity(parent.get("parentRef") or {}, namespace) in named:
            yield {condition["type"]: condition for condition in parent.get("conditions") or []}


def _identity(ref: Mapping[str, Any], namespace: str | None) -> tuple[Any, ...]:
    return ref.get("name"), ref.get("namespace") or namespace, ref.get("sectionName"), ref.get("port")


def _slots(rules: Iterable[Mapping[str, Any]], services: Mapping[str, Slot]) -> dict[Slot, int]:
    """The weights of those rules' slots."""
    backends = (ref for rule in rules for ref in rule.get("backendRefs") or [])
    return {services[ref["name"]]: ref.get("weight", 1) for ref in backends if ref["name"] in services}


def _is_marked(rule: Mapping[str, Any]) -> bool:
    """It is for requests with a certain header alone."""
    return any(match.get("headers") for match in rule.get("matches") or [])
