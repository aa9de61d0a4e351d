"""The stored revisions of a service: a list of them, and the difference of two. Pure."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import yaml

from penstock import names
from penstock.cli.layout import Colour, Paint, between, columns, plain
from penstock.cli.objects import Rollout, SlotPods
from penstock.cli.status import role
from penstock.desired.serving import serving_container
from penstock.kinds import Manifest
from penstock.names import Slot

_HEAD: Final = ("NUMBER", "REVISION", "AGE", "IS", "IMAGE", "MODEL")
_MODEL_FLAG: Final = "--model="
_COLOURS: Final[Mapping[str, Colour]] = {"+": "good", "-": "bad", "@": "busy"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored revision; `number` counts the service's revisions from 1."""

    number: int
    revision: str
    created: datetime | None
    template: Manifest

    @property
    def image(self) -> str:
        return str(self._serving.get("image", ""))

    @property
    def model(self) -> str:
        """Where the model comes from; empty for a server that is given it otherwise than by `--model=`."""
        given = [str(word) for word in (*self._serving.get("command", []), *self._serving.get("args", []))]
        found = next((word.removeprefix(_MODEL_FLAG) for word in given if word.startswith(_MODEL_FLAG)), "")
        return self._claim() if found == names.MODEL_DIR else found

    @property
    def _serving(self) -> Mapping[str, Any]:
        return serving_container(self.template)

    def _claim(self) -> str:
        """The claim that is mounted as the model's directory, as storageUri spells it."""
        mounts = {mount["mountPath"]: mount for mount in self._serving.get("volumeMounts", [])}
        mount = mounts.get(names.MODEL_DIR, {})
        volumes = {volume["name"]: volume for volume in self.template["spec"].get("volumes", [])}
        claim = volumes.get(mount.get("name"), {}).get("persistentVolumeClaim", {}).get("claimName")
        return f"pvc://{claim}/{mount.get('subPath', '')}".rstrip("/") if claim else names.MODEL_DIR


def entries(service: str, stored: Iterable[Manifest]) -> list[Entry]:
    """The revisions that a service's ControllerRevisions hold, the oldest first."""
    found = [
        Entry(
            number=each["revision"],
            # The name tells it; a label could have been edited.
            revision=each["metadata"]["name"].removeprefix(names.controller_revision(service, "")),
            created=_time(each["metadata"].get("creationTimestamp")),
            template=each["data"]["template"],
        )
        for each in stored
    ]
    return sorted(found, key=lambda entry: entry.number)


def roles(entry: Entry, rollout: Rollout, slots: Mapping[Slot, SlotPods]) -> list[str]:
    """What the revision is now: stable, wanted, failed, and the slots that it is in."""
    named = {"stable": rollout.stable_revision, "wanted": rollout.current_revision, "failed": rollout.failed_revision}
    places = [f"{slot} ({role(slot, rollout)})" for slot, pods in slots.items() if pods.revision == entry.revision]
    return [word for word, revision in named.items() if revision == entry.revision] + places


def lines(found: Sequence[Entry], rollout: Rollout, slots: Mapping[Slot, SlotPods], now: datetime) -> list[str]:
    rows = [
        (
            str(entry.number),
            entry.revision,
            between(entry.created, now) if entry.created else "?",
            ", ".join(roles(entry, rollout, slots)) or "-",
            entry.image,
            entry.model or "-",
        )
        for entry in found
    ]
    return columns([_HEAD, *rows])


def document(found: Sequence[Entry], rollout: Rollout, slots: Mapping[Slot, SlotPods]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "number": entry.number,
            "revision": entry.revision,
            "created": entry.created.isoformat().replace("+00:00", "Z") if entry.created else None,
            "is": roles(entry, rollout, slots),
            "image": entry.image,
            "model": entry.model or None,
        }
        for entry in found
    ]


def difference(old: Entry, new: Entry, paint: Paint = plain) -> list[str]:
    """A unified diff of the two templates as YAML; empty when they are the same."""
    before, after = (yaml.safe_dump(entry.template, sort_keys=True).splitlines() for entry in (old, new))
    titles = [f"revision {entry.revision} ({entry.number})" for entry in (old, new)]
    found = difflib.unified_diff(before, after, titles[0], titles[1], lineterm="")
    return [paint(line, _COLOURS.get(line[0])) for line in found]


def _time(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None
