"""GPU and other capacity arithmetic: what of nodes and quotas is free, and how many more copies of a pod that makes.

The rules are the scheduler's own filters, NodeResourcesFit, NodeAffinity, TaintToleration and NodeUnschedulable
(https://kubernetes.io/docs/concepts/scheduling-eviction/), over projections of nodes and pods.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from penstock.capacity import placement, quota, requests, room
from penstock.capacity.placement import Node
from penstock.capacity.quota import Allowance, Quota
from penstock.capacity.requests import NOTHING, ZERO, Amounts, PodKey, PodRequests
from penstock.capacity.room import Fit, Room, Site

_NONE: Set[str] = frozenset()


@dataclass
class Capacity:
    """Nodes, and what pods request, kept up to date object by object, so that asking costs O(nodes) and not O(pods).

    What changes a node returns whether anything that matters for scheduling changed, which a heartbeat does not; what
    changes a pod returns the resources of which some node has more or less now.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    pods: dict[PodKey, PodRequests] = field(default_factory=dict)
    quotas: defaultdict[str, dict[str, Quota]] = field(default_factory=lambda: defaultdict(dict))  # by namespace
    sees_all_pods: bool = True  # False where only some namespaces are watched: `free` may then be too much
    _used: defaultdict[str, dict[str, Decimal]] = field(default_factory=lambda: defaultdict(dict))

    def put_node(self, node: Node) -> bool:
        changed = self.nodes.get(node.name) != node
        self.nodes[node.name] = node
        return changed

    def drop_node(self, name: str) -> bool:
        return self.nodes.pop(name, None) is not None

    def put_pod(self, pod: PodRequests) -> Set[str]:
        if self.pods.get(pod.key) == pod:
            return _NONE
        given_back = self.drop_pod(pod.key)
        self.pods[pod.key] = pod
        if pod.node is None:
            return given_back
        used = self._used[pod.node]
        used.update(requests.added(used, pod.requests))
        return given_back | pod.requests.keys()

    def drop_pod(self, key: PodKey) -> Set[str]:
        pod = self.pods.pop(key, None)
        if pod is None or pod.node is None:
            return _NONE
        self._give_back(pod.node, pod.requests)
        return pod.requests.keys()

    def put_quota(self, found: Quota) -> None:
        self.quotas[found.namespace][found.name] = found

    def drop_quota(self, namespace: str, name: str) -> None:
        self.quotas[namespace].pop(name, None)
        if not self.quotas[namespace]:
            del self.quotas[namespace]

    def requested(self, node: str) -> Amounts:
        """Return what the pods on the node request together, without zeroes."""
        return self._used.get(node, {})

    def free(self, node: Node, gone: Amounts = NOTHING) -> Amounts:
        """Return what is left of the node, if pods with the requests `gone` were; never below zero.

        Static pods may overcommit a node: what is freed first covers the overcommitment.
        """
        used = self.requested(node.name)
        return {
            name: max(amount - used.get(name, ZERO) + gone.get(name, ZERO), ZERO)
            for name, amount in node.allocatable.items()
        }

    def fit(self, pod_spec: Mapping[str, Any]) -> Fit:
        """Return how many more copies of the pod fit now, or why none does."""
        return room.fit(requests.requests(pod_spec), self._sites(pod_spec))

    def room(self, namespace: str, pod_spec: Mapping[str, Any], own: Collection[PodKey], *, serving: int) -> Room:
        """Return what there is for more copies of the pod in the namespace; `own` are the pods that it may replace.

        Costs O(nodes + own): what the own pods request is subtracted node by node, and nothing is copied.
        """
        pod = requests.of_spec(pod_spec, namespace)
        asked, sites, placed = pod.requests, self._sites(pod_spec), self._placed(own)
        without_own = [self._vacated(site, placed.get(site.node.name, [])) for site in sites]
        allowed = self._allowance(pod, own)
        return Room(
            fit=room.fit(asked, sites),
            fit_without_own=room.fit(asked, without_own),
            scarce=room.scarce(asked, sites),
            own=sum(len(pods) for pods in placed.values()),
            serving=serving,
            can_take_turns=self._can_take_turns(asked, sites, placed) and (allowed is None or allowed.can_take_turns),
            sees_all_pods=self.sees_all_pods,
            allowance=allowed,
        )

    def _allowance(self, pod: PodRequests, own: Collection[PodKey]) -> Allowance | None:
        # A pod that waits for a node counts to its quota all the same.
        known = [self.pods[key] for key in set(own) if key in self.pods]
        return quota.allowance(self.quotas.get(pod.namespace, {}).values(), pod, known)

    def _sites(self, pod_spec: Mapping[str, Any]) -> list[Site]:
        found = ((node, placement.obstacle(pod_spec, node)) for node in self.nodes.values())
        return [Site(node, obstacle, NOTHING if obstacle else self.free(node)) for node, obstacle in found]

    def _placed(self, pods: Iterable[PodKey]) -> Mapping[str, list[PodRequests]]:
        """Return those of these pods that have a node, by node; one that is not known (any more) has none."""
        placed: defaultdict[str, list[PodRequests]] = defaultdict(list)
        for pod in (self.pods[key] for key in set(pods) if key in self.pods):
            if pod.node is not None:
                placed[pod.node].append(pod)
        return placed

    def _vacated(self, site: Site, pods: Sequence[PodRequests]) -> Site:
        """Return the site as it were if these pods, which are there, were gone."""
        if site.obstacle is not None or not pods:
            return site
        gone = requests.added(*(pod.requests for pod in pods))
        free = self.free(site.node, gone)
        if not self.sees_all_pods:
            # Unseen pods may have the rest: sure is only what these give back.
            free = {resource: min(amount, gone.get(resource, ZERO)) for resource, amount in free.items()}
        return replace(site, free=free)

    def _can_take_turns(self, asked: Amounts, sites: Iterable[Site], placed: Mapping[str, list[PodRequests]]) -> bool:
        """Whether each of the pods makes place for a new one, whichever goes first: nobody can choose that.

        One alone is not enough. With 3 pods of 1 GPU on a node with 4, a new one of 2 fits when the first has gone;
        the second would go for nothing.
        """
        open_nodes = {site.node.name: site.node for site in sites if site.obstacle is None}
        return all(
            node in open_nodes
            and all(
                requests.can_take_turns(
                    self._surely_free(open_nodes[node], resource),
                    [pod.requests.get(resource, ZERO) for pod in pods],
                    need,
                )
                for resource, need in asked.items()
            )
            for node, pods in placed.items()
        )

    def _surely_free(self, node: Node, resource: str) -> Decimal:
        """Below zero on a node that is overcommitted; nothing above it where unseen pods may have it."""
        left = node.allocatable.get(resource, ZERO) - self.requested(node.name).get(resource, ZERO)
        return left if self.sees_all_pods else min(left, ZERO)

    def _give_back(self, node: str, amounts: Amounts) -> None:
        used = self._used[node]
        for resource, amount in amounts.items():
            used[resource] -= amount
            if not used[resource]:
                del used[resource]
        if not used:
            del self._used[node]
