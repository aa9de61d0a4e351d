"""The ControllerRevisions: each stores a revision's pod template, so that an operator upgrade restarts nothing."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Final

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import CONTROLLER_REVISION, Manifest

_MOST: Final = 2**53  # far from where the API server's integers end


@dataclass(frozen=True, slots=True)
class Stored:
    """A revision's template as its ControllerRevision holds it; `number` counts revisions from 1."""

    number: int
    template: Manifest


def controller_revision(service: InferenceService, revision: str, number: int, template: Manifest) -> Manifest:
    """`number` counts the service's revisions from 1, as in a StatefulSet's history."""
    content = {"revision": number, "data": {"template": template}}
    name = names.controller_revision(service.metadata.name, revision)
    extra = {names.LABEL_REVISION: revision}
    return metadata.child(service, CONTROLLER_REVISION, name, content, extra_labels=extra)


def kept(
    stored: Mapping[str, Stored], templates: Mapping[str, Manifest], *, current: str, in_use: Set[str], limit: int
) -> dict[str, Stored]:
    """The revisions to keep: all in use, and the newest others up to `limit` old ones; a missing one in use is added.

    The current one has the highest number, as in the history of a Deployment or StatefulSet: a revision that the spec
    asks for again is the newest. The numbers are distinct, whatever somebody wrote there.
    """
    found = _numbered(stored, current)
    for revision in sorted(in_use & templates.keys() - found.keys()):
        found[revision] = Stored(_next(found), templates[revision])
    if current in found and found[current].number != _next(found) - 1:
        found[current] = replace(found[current], number=_next(found))
    others = sorted(found.keys() - in_use, key=lambda revision: -found[revision].number)
    most = max(limit - len(found.keys() & in_use - {current}), 0)
    return {key: each for key, each in found.items() if key in in_use or key in others[:most]}


def _numbered(stored: Mapping[str, Stored], current: str) -> dict[str, Stored]:
    """In order, from 1, and no number twice: the current one is the newer of two."""
    found: dict[str, Stored] = {}
    for revision in sorted(stored, key=lambda revision: (_number(stored[revision]), revision == current, revision)):
        number = max(_number(stored[revision]), _next(found))
        found[revision] = replace(stored[revision], number=number)
    return found


def _number(stored: Stored) -> int:
    return stored.number if 0 < stored.number <= _MOST else 0


def _next(found: Mapping[str, Stored]) -> int:
    return max((each.number for each in found.values()), default=0) + 1
