"""What users ask for by the annotation `penstock.dev/action: "<verb>:<id>"`: each id is handled once.

An action that makes no sense now is refused with the reason, and changes nothing.
"""

from collections.abc import Callable, Mapping

from penstock import names
from penstock.api.status import LastAction
from penstock.names import Reason
from penstock.rollout import rollback
from penstock.rollout.decision import Situation


class _Refused(Exception):
    """Why the action makes no sense now."""


def handled(s: Situation) -> Situation:
    """The situation after the action that the user asks for, if it is a new one."""
    asked = s.seen.service.metadata.annotations.get(names.ANNOTATION_ACTION, "")
    word, _, action_id = asked.partition(":")
    verb, _, argument = word.partition("=")
    if not asked or (
        s.recorded.last_action is not None and s.recorded.last_action.id == (action_id or asked)[:_LONGEST_ID]
    ):
        return s
    try:
        if not action_id or verb not in _VERBS or (argument and verb != "rollback"):
            raise _Refused(f"{asked!r} is no action: write <verb>:<id> with one of {', '.join(_VERBS)}")
        after, message = _VERBS[verb](s, argument)
    except _Refused as refusal:
        after, message, result = s, str(refusal), "Refused"
    else:
        result = "Done"
    done = LastAction(
        number=s.recorded.last_action.number + 1 if s.recorded.last_action else 1,
        verb=verb[:64],
        id=(action_id or asked)[:_LONGEST_ID],
        result=result,
        message=message,
        time=s.now,
    )
    return after.remembering(last_action=done)


_LONGEST_ID = 256


def _in_flight(s: Situation) -> bool:
    return s.recorded.stable_revision not in (None, s.current) and s.recorded.failed_revision != s.current


def _promote(s: Situation, _: str) -> tuple[Situation, str]:
    _check_promotable(s)
    if s.recorded.strategy == "Canary" and s.recorded.shared_revision != s.current:
        raise _Refused(f"revision {s.current} has no step to leave yet; promote-full leaves them all out")
    return s.remembering(is_promoted=True), f"revision {s.current} {_promoted(s)}"


def _promoted(s: Situation) -> str:
    """What follows, and what it waits for."""
    resumed = " as soon as the rollout is resumed" if s.recorded.is_paused else ""
    if s.recorded.strategy == "Canary":
        return f"goes on to its next step{resumed}"
    if s.recorded.switched_at is not None:
        return f"is promoted; the old pods go{resumed}"
    return _takes_over(s)


def _promote_full(s: Situation, _: str) -> tuple[Situation, str]:
    _check_promotable(s)
    message = f"revision {s.current} {_takes_over(s)}, without soak, steps, analysis and hold"
    return s.remembering(is_promoted=True, is_fully_promoted=True), message


def _takes_over(s: Situation) -> str:
    return f"takes over as soon as it is tested{' and the rollout is resumed' if s.recorded.is_paused else ''}"


def _check_promotable(s: Situation) -> None:
    if not _in_flight(s) or s.recorded.strategy not in ("BlueGreen", "Canary"):
        raise _Refused("nothing waits to be promoted")


def _abort(s: Situation, _: str) -> tuple[Situation, str]:
    if not _in_flight(s):
        return s, "nothing was in flight"
    return _given_up(s, Reason.ABORTED_BY_USER, "was aborted by the user")


def _retry(s: Situation, _: str) -> tuple[Situation, str]:
    if s.recorded.failed_revision == s.current:
        fresh = s.remembering(failed_revision=None, reason=None, failure=None, started_at=None, latched_replicas=None)
        return fresh, f"revision {s.current} is tried again"
    is_compared = s.recorded.ab_test is not None and s.recorded.tested_at is None and not s.recorded.is_promoted
    if _in_flight(s) and is_compared and s.recorded.latched_replicas is None:
        return s.remembering(ab_test=None), "the A/B test starts afresh"
    if not _in_flight(s) or s.recorded.analysis is None:
        raise _Refused("there is neither a failed revision nor an analysis to try again")
    return s.remembering(analysis=None), "the analysis starts afresh"


def _rollback(s: Situation, revision: str) -> tuple[Situation, str]:
    if _in_flight(s) and revision in ("", s.recorded.stable_revision):
        return _given_up(s, Reason.ROLLED_BACK_BY_USER, "was rolled back by the user")
    components = s.seen.service.status.components
    to = revision or (components and components.predictor.previous_rolledout_revision)
    if not to or s.recorded.stable_revision is None:
        raise _Refused("there is no earlier revision to go back to")
    if to not in s.seen.templates:
        raise _Refused(f"revision {to} is not in the history; `penstock history` lists what is")
    serving = s.active.revision if s.active else s.recorded.stable_revision
    if to == serving:
        raise _Refused(f"revision {to} serves already")
    if to == s.current:
        raise _Refused(f"revision {to} is what the spec asks for: the action retry tries it again")
    after, message = _given_up(s, Reason.ROLLED_BACK_BY_USER, f"was rolled back to {to} by the user")
    way = s.recorded.strategy or ("BlueGreen" if s.seen.service.spec.strategy == "BlueGreen" else "RollingUpdate")
    return after.remembering(
        stable_revision=to, strategy=way, latched_replicas=len(s.seen.ready(s.seen.active))
    ), message


def _pause(s: Situation, _: str) -> tuple[Situation, str]:
    if not _in_flight(s):
        raise _Refused("no rollout is in flight")
    return s.remembering(is_paused=True), "the rollout stands still until the action resume"


def _resume(s: Situation, _: str) -> tuple[Situation, str]:
    if not s.recorded.is_paused:
        raise _Refused("the rollout is not paused")
    return s.remembering(is_paused=None), "the rollout goes on"


def _given_up(s: Situation, reason: Reason, what: str) -> tuple[Situation, str]:
    message = f"revision {s.current} {what}"
    return rollback.given_up(s, reason, message), message


_VERBS: Mapping[str, Callable[[Situation, str], tuple[Situation, str]]] = {
    "promote": _promote,
    "promote-full": _promote_full,
    "abort": _abort,
    "retry": _retry,
    "rollback": _rollback,
    "pause": _pause,
    "resume": _resume,
}
