"""The commands beside `run`: each asks the API server, has its answer put into words, and shows them."""

import argparse
import asyncio
import itertools
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from penstock import clock, names
from penstock.api.status import LastAction, RolloutStatus
from penstock.cli import history, view
from penstock.cli.client import Client, Failure, connect
from penstock.cli.explain import explain
from penstock.cli.screen import Screen
from penstock.cli.view import Shown

_LOOK_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a command: what was asked for, of whom, and where the words go."""

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
        return asyncio.run(_connected(arguments))
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


async def _connected(arguments: argparse.Namespace) -> int:
    async with connect(arguments.kubeconfig, arguments.context, arguments.namespace) as client:
        return await _COMMANDS[arguments.command](Call(client, arguments, Screen(sys.stdout)))


async def _status(call: Call) -> int:
    if call.arguments.watch:
        return await _watch(call)
    shown = await _look(call)
    if call.is_for_programs:
        call.screen.dump(view.document(shown))
    else:
        call.screen.show(view.lines(shown, clock.now(), call.screen.paint))
    return 0


async def _watch(call: Call) -> int:
    told: Any = None
    for number in itertools.count():
        shown = await _look(call)
        told = _follow(call, shown, told)
        # At the first look the operator may not have seen yet what was asked for a moment ago.
        if number and view.is_at_rest(shown.service):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    return 0 if view.has_succeeded(shown.service) else 1


def _follow(call: Call, shown: Shown, told: Any) -> Any:
    """Show this look, unless it is what has been told before; return what was told."""
    now = clock.now()
    if call.is_for_programs:
        document = view.document(shown)
        if document != told:
            call.screen.dump(document, indent=None)
        return document
    if call.screen.is_terminal:
        call.screen.redraw(view.lines(shown, now, call.screen.paint))
        return None
    summary = view.summary(shown)
    if summary != told:
        call.screen.show([f"{now:%H:%M:%S}Z  {summary}"])
    return summary


async def _look(call: Call) -> Shown:
    return Shown(await call.client.service(call.name), await call.client.deployments(call.name))


async def _explain(call: Call) -> int:
    found = explain(await call.client.service(call.name), clock.now())
    if call.is_for_programs:
        call.screen.dump(found.document())
    else:
        call.screen.show(found.lines())
    return 0


async def _history(call: Call) -> int:
    shown, found = await _look(call), await _entries(call)
    if call.is_for_programs:
        call.screen.dump(history.document(found, shown.rollout, shown.slots))
    elif found:
        call.screen.show(history.lines(found, shown.rollout, shown.slots, clock.now()))
    else:
        call.screen.show(["no revision is stored yet"])
    return 0


async def _diff(call: Call) -> int:
    await call.client.service(call.name)
    stored = {entry.revision: entry for entry in await _entries(call)}
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


async def _entries(call: Call) -> list[history.Entry]:
    return history.entries(call.name, await call.client.revisions(call.name))


async def _restart(call: Call) -> int:
    service = await call.client.service(call.name)
    await call.client.annotate(call.name, names.ANNOTATION_RESTARTED_AT, f"{clock.now():%Y-%m-%dT%H:%M:%SZ}")
    namespace = service.metadata.namespace
    follow = f"`penstock status {call.name} -n {namespace} --watch`"
    call.screen.show([f"{namespace}/{call.name} gets new pods, as a new revision of the same spec; {follow} follows"])
    return 0


async def _act(call: Call) -> int:
    await call.client.service(call.name)  # Tells plainly what is missing if something is.
    action = f"{_verb(call.arguments)}:{secrets.token_hex(4)}"
    await call.client.annotate(call.name, names.ANNOTATION_ACTION, action)
    if call.arguments.wait:
        return _tell(call, await _answer(call, action))
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


async def _answer(call: Call, action: str) -> LastAction:
    """What an operator makes of the action; raises Failure when none does, or when another action takes its place."""
    limit = call.arguments.timeout
    try:
        async with asyncio.timeout(limit):
            while True:
                service = await call.client.service(call.name)
                done = (service.status.rollout or RolloutStatus()).last_action
                if done is not None and done.id == action.partition(":")[2]:
                    return done
                asked = service.metadata.annotations.get(names.ANNOTATION_ACTION)
                if asked != action:
                    raise Failure(f"{asked} was asked for before {action} was answered")
                await asyncio.sleep(_ANSWER_SECONDS)
    except TimeoutError as error:
        raise Failure(
            f"no operator answered within {limit:g} s: is it running, and does it serve namespace "
            f"{call.client.namespace}? The action stays written, and is carried out when one comes"
        ) from error


def _tell(call: Call, done: LastAction) -> int:
    is_done = done.result == "Done"
    if call.is_for_programs:
        call.screen.dump(done.to_dict())
    elif is_done:
        call.screen.show([done.message or f"{done.verb} is done"])
    else:
        print(f"refused: {done.message}", file=sys.stderr)
    return 0 if is_done else 1


_COMMANDS: Final[Mapping[str, Callable[[Call], Awaitable[int]]]] = {
    "status": _status,
    "explain": _explain,
    "history": _history,
    "diff": _diff,
    "restart": _restart,
    **dict.fromkeys(("promote", "abort", "retry", "rollback", "pause", "resume"), _act),
}
