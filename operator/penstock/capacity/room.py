"""What there is room for: how many more copies of a pod fit, and in words what they wait for when none does."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from penstock import names
from penstock.capacity.placement import Node
from penstock.capacity.quota import Allowance
from penstock.capacity.requests import PODS, ZERO, Amounts, copies


@dataclass(frozen=True, slots=True)
class Fit:
    """How many more copies fit: in all, and per node where at least one does."""

    by_node: Mapping[str, int]
    message: str  # one sentence: the copies that fit, or what is missing where
    short_of: str | None = None  # the resource no matching node has enough of; None also when no node matches
    rests_on: frozenset[str] = frozenset()  # the resources that pods would have to take or give back to change this

    @property
    def copies(self) -> int:
        return sum(self.by_node.values())


@dataclass(frozen=True, slots=True)
class Scarce:
    """The scarcest kind of resource that a pod asks for, over the nodes that match it."""

    resource: str
    need: Decimal  # of one pod
    free: Decimal
    total: Decimal

    @property
    def have(self) -> str:
        return f"{shown(self.resource, self.free)} of {shown(self.resource, self.total)} {self.resource} free"

    def needed(self, pods: int) -> str:
        return shown(self.resource, self.need * pods)


@dataclass(frozen=True, slots=True)
class Room:
    """What there is for more copies of a pod, beside everything that runs and if the service's own pods were gone.

    `more` and `without_own` count both, the places on the nodes and what the namespace's quotas allow.
    """

    fit: Fit
    fit_without_own: Fit
    scarce: Scarce | None  # None where the pod asks for nothing but its place among the node's `pods`
    own: int  # the service's own pods that have a node
    serving: int  # how many of them serve
    can_take_turns: bool  # the place of each own pod holds a new one, whichever goes first, to the last of them
    sees_all_pods: bool  # False: pods of other namespaces may have what seems to be free
    allowance: Allowance | None = None  # by the namespace's quotas, where there are any

    @property
    def more(self) -> int:
        """Pods that could come beside everything that runs."""
        return self.fit.copies if self.allowance is None else min(self.fit.copies, self.allowance.more)

    @property
    def without_own(self) -> int:
        """Pods that could come if the service's own were gone."""
        found = self.fit_without_own.copies
        return found if self.allowance is None else min(found, self.allowance.without_own)

    @property
    def limited_by(self) -> Allowance | None:
        """The quota that keeps pods out for which there is a node."""
        limit = self.allowance
        return limit if limit is not None and limit.more < self.fit.copies else None

    @property
    def is_for_gpus(self) -> bool:
        return self.scarce is not None and names.is_gpu(self.scarce.resource)


@dataclass(frozen=True, slots=True)
class Site:
    """A node as one pod finds it."""

    node: Node
    obstacle: str | None  # why the pod may not be placed there, to be read after "1 node …"
    free: Amounts  # what the pod could have there: nothing where there is an obstacle

    def offers(self, resource: str) -> bool:
        return self.node.allocatable.get(resource, ZERO) > 0


def fit(asked: Amounts, sites: Sequence[Site]) -> Fit:
    """Return how many more copies of a pod that asks for so much fit, or why none does."""
    found = {site.node.name: copies(asked, site.free) for site in sites}
    by_node = {name: number for name, number in found.items() if number > 0}
    if not by_node:
        return _shortfall(asked, sites)
    more = _count(sum(by_node.values()), "more copy", "more copies")
    return Fit(by_node, f"{more} fit on {_count(len(by_node), 'node')}", rests_on=frozenset(asked))


def scarce(asked: Amounts, sites: Iterable[Site]) -> Scarce | None:
    """Return how much of the scarcest kind there is for a pod that asks for so much."""
    resource = min(asked, key=_scarcity)
    if resource == PODS:
        return None
    matching = [site for site in sites if site.obstacle is None]
    free = sum((site.free.get(resource, ZERO) for site in matching), ZERO)
    total = sum((site.node.allocatable.get(resource, ZERO) for site in matching), ZERO)
    return Scarce(resource, asked[resource], free, total)


def _shortfall(asked: Amounts, sites: Sequence[Site]) -> Fit:
    """Name the first resource, the scarcest kind first, that no remaining node has enough of."""
    enough: list[str] = []
    left = [site for site in sites if site.obstacle is None]
    for resource in sorted(asked, key=_scarcity):
        offering = [site for site in left if site.offers(resource)]
        if not offering:
            break
        left = [site for site in offering if site.free[resource] >= asked[resource]]
        if not left:
            message = _arithmetic(resource, asked[resource], offering, enough)
            return Fit({}, message, resource, frozenset([*enough, resource]))
        enough.append(resource)
    return replace(_mismatch(asked, sites), rests_on=frozenset(enough))


def _arithmetic(resource: str, need: Decimal, offering: Sequence[Site], enough: Sequence[str]) -> str:
    """Say how much is missing; `offering` are the nodes that match and have `enough` of everything scarcer."""
    free = [site.free[resource] for site in offering]
    total = sum((site.node.allocatable[resource] for site in offering), ZERO)
    where = _count(len(offering), "matching node")
    if enough:
        where += f" with enough {' and '.join(enough)}"
    if sum(free) >= need:
        where += f", at most {shown(resource, max(free))} on one"
    have = f"{shown(resource, sum(free, ZERO))} of {shown(resource, total)} free on {where}"
    return f"needs {shown(resource, need)} {resource}; {have}"


def _mismatch(asked: Amounts, sites: Sequence[Site]) -> Fit:
    """Say why no node may take the pod: nobody offers the resource, or what excludes the nodes that do."""
    wanted = min(asked, key=_scarcity)
    need = f"needs {shown(wanted, asked[wanted])} {wanted}"
    offering = [site for site in sites if site.offers(wanted)]
    if not offering:
        return Fit({}, f"{need}; {_offers(wanted, sites)}", wanted)
    reasons = Counter(site.obstacle or "lacks another requested resource" for site in offering)
    listed = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items()))
    return Fit({}, f"{need}; of {_count(len(offering), 'node')} with it none matches: {listed}")


def _offers(wanted: str, sites: Sequence[Site]) -> str:
    """Say that no node offers the resource and, for an accelerator, which other ones there are."""
    none = f"none of {_count(len(sites), 'node')} offers it"
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for site in sites:
        for resource, amount in site.node.allocatable.items():
            if names.is_gpu(wanted) and names.is_gpu(resource) and amount > 0:
                totals[resource] += amount
    others = ", ".join(f"{shown(resource, amount)} {resource}" for resource, amount in sorted(totals.items()))
    return f"{none} (there is {others})" if others else none


def _scarcity(resource: str) -> tuple[int, str]:
    """Order accelerators first, then other extended resources, then the rest; `pods` last."""
    if resource == PODS:
        return 3, resource
    return (0 if names.is_gpu(resource) else 1 if "/" in resource else 2), resource


def shown(resource: str, amount: Decimal) -> str:
    """Write an amount for people: memory in GiB, everything else as a plain number."""
    if resource in ("memory", "ephemeral-storage") or resource.startswith("hugepages-"):
        return f"{float(amount / 1024**3):.3g}Gi"
    return f"{amount.normalize():f}"


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
