"""The commands beside `run`: each reads the service, has status.py, explain.py or history.py word it, and prints."""

import argparse
import itertools
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from penstock import clock, names
from penstock.cli import history, status
from penstock.cli.client import Client, Failure, connect
from penstock.cli.explain import explain
from penstock.cli.objects import Service
from penstock.cli.screen import Screen
from penstock.cli.status import Shown
from penstock.kinds import Manifest

_WATCH_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a command."""

    client: Client
    arguments: argparse.Namespace
    screen: Screen

    @property
    def name(self) -> str:
        return str(self.arguments.name)

    @property
    def is_for_programs(self) -> bool:
        return bool(self.arguments.output == "json")


def carry_out(arguments: argparse.Namespace) -> int:
    """Return the exit status: 0, or 1 with a line on stderr."""
    try:
        with connect(arguments.kubeconfig, arguments.context, arguments.namespace) as client:
            return _COMMANDS[arguments.command](Call(client, arguments, Screen(sys.stdout)))
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _status(call: Call) -> int:
    if call.arguments.watch:
        return _watch(call)
    shown = _look(call)
    if call.is_for_programs:
        call.screen.dump(status.document(shown))
    else:
        call.screen.show(status.lines(shown, clock.now(), call.screen.paint))
    return 0


def _watch(call: Call) -> int:
    last: Any = None
    for number in itertools.count():
        shown = _look(call)
        last = _follow(call, shown, last)
        # At the first look the operator may not have seen yet what was asked for a moment ago.
        if number and status.is_at_rest(shown.service):
            break
        time.sleep(_WATCH_SECONDS)
    return 0 if status.has_succeeded(shown.service) else 1


def _follow(call: Call, shown: Shown, last: Any) -> Any:
    """Show the service unless it looks as it did the `last` time; return how it looks."""
    now = clock.now()
    if call.is_for_programs:
        document = status.document(shown)
        if document != last:
            call.screen.dump(document, indent=None)
        return document
    if call.screen.is_terminal:
        call.screen.redraw(status.lines(shown, now, call.screen.paint))
        return None
    summary = status.summary(shown)
    if summary != last:
        call.screen.show([f"{now:%H:%M:%S}Z  {summary}"])
    return summary


def _look(call: Call) -> Shown:
    return Shown(call.client.service(call.name), call.client.slots(call.name))


def _explain(call: Call) -> int:
    service = call.client.service(call.name)
    vertical = call.client.vertical_autoscaler(call.name) if service.vertical_mode else None
    found = explain(service, clock.now(), vertical)
    if call.is_for_programs:
        call.screen.dump(found.document())
    else:
        call.screen.show(found.lines())
    return 0


def _history(call: Call) -> int:
    shown, found = _look(call), _entries(call)
    if call.is_for_programs:
        call.screen.dump(history.document(found, shown.rollout, shown.slots))
    elif found:
        call.screen.show(history.lines(found, shown.rollout, shown.slots, clock.now()))
    else:
        call.screen.show(["no revision is stored yet"])
    return 0


def _diff(call: Call) -> int:
    call.client.service(call.name)
    stored = {entry.revision: entry for entry in _entries(call)}
    asked = (call.arguments.old, call.arguments.new)
    for revision in asked:
        if revision not in stored:
            raise Failure(f"{call.name} has no revision {revision}; it has {', '.join(stored) or 'none yet'}")
    old, new = (stored[revision] for revision in asked)
    if call.is_for_programs:
        call.screen.dump({entry.revision: entry.template for entry in (old, new)})
        return 0
    call.screen.show(history.difference(old, new, call.screen.paint) or ["the two templates are the same"])
    return 0


def _entries(call: Call) -> list[history.Entry]:
    return history.entries(call.name, call.client.revisions(call.name))


def _restart(call: Call) -> int:
    service = call.client.service(call.name)
    call.client.annotate(call.name, names.ANNOTATION_RESTARTED_AT, f"{clock.now():%Y-%m-%dT%H:%M:%SZ}")
    namespace = service.metadata.namespace
    follow = f"`penstock status {call.name} -n {namespace} --watch`"
    call.screen.show([f"{namespace}/{call.name} gets new pods, as a new revision of the same spec; {follow} follows"])
    return 0


def _act(call: Call) -> int:
    call.client.service(call.name)  # Its failure says what is missing; a refused patch would not.
    action = f"{_verb(call.arguments)}:{secrets.token_hex(4)}"
    call.client.annotate(call.name, names.ANNOTATION_ACTION, action)
    if call.arguments.wait:
        return _show_answer(call, _answered(call, action))
    if call.is_for_programs:
        verb, _, action_id = action.partition(":")
        call.screen.dump({"verb": verb, "id": action_id})
    else:
        call.screen.show([f"{action} is asked for; `penstock status` shows what becomes of it"])
    return 0


def _verb(arguments: argparse.Namespace) -> str:
    """The verb as the annotation spells it."""
    command = str(arguments.command)
    if command == "promote" and arguments.full:
        return "promote-full"
    return f"{command}={arguments.to}" if command == "rollback" and arguments.to else command


def _answered(call: Call, action: str) -> Service:
    """The service when an operator has answered; raises Failure when none does, or another action takes its place."""
    limit = call.arguments.timeout
    end = time.monotonic() + limit
    while time.monotonic() < end:
        service = call.client.service(call.name)
        done = service.rollout.last_action
        if done is not None and done.id == action.partition(":")[2]:
            return service
        asked = service.metadata.annotations.get(names.ANNOTATION_ACTION)
        if asked != action:
            raise Failure(f"{asked} was asked for before {action} was answered")
        time.sleep(_POLL_SECONDS)
    raise Failure(
        f"no operator answered within {limit:g} s: is it running, and does it serve namespace "
        f"{call.client.namespace}? The action stays written, and is carried out when one comes"
    )


def _show_answer(call: Call, service: Service) -> int:
    answer: Manifest = service.source["status"]["rollout"]["lastAction"]
    is_done, message = answer["result"] == "Done", answer.get("message", "")
    if call.is_for_programs:
        call.screen.dump(answer)
    elif is_done:
        call.screen.show([message or f"{answer['verb']} is done"])
    else:
        print(f"refused: {message}", file=sys.stderr)
    return 0 if is_done else 1


_COMMANDS: Final[Mapping[str, Callable[[Call], int]]] = {
    "status": _status,
    "explain": _explain,
    "history": _history,
    "diff": _diff,
    "restart": _restart,
    **dict.fromkeys(("promote", "abort", "retry", "rollback", "pause", "resume"), _act),
}
