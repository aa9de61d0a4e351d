"""The revision of a service: a hash of the part of its spec that its pods are made of.

Replicas, autoscaling, the rollout's pace and metadata never change it, so they never restart a pod. Values that are
unset or equal to the API version's defaults are left out before hashing: a schema that learns a defaulted field
rehashes nothing. tests/golden/revisions.json holds the hashes of every release and may only grow.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from penstock import names
from penstock.api.v1alpha1 import InferenceService

_LENGTH: Final = 10
_NOT_IN_PODS: Final = frozenset(
    {
        "min_replicas",
        "max_replicas",
        "scale_metric",
        "scale_target",
        "metrics",
        "deployment_strategy",
        "min_ready_seconds",
    }
)


def of(service: InferenceService) -> str:
    """The revision that the service's spec asks for: ten lower-case hexadecimal digits."""
    canonical = json.dumps(pod_affecting(service), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_LENGTH]


def pod_affecting(service: InferenceService) -> dict[str, Any]:
    """The part of the spec that enters the pods, without nulls and defaults, and the tokens that ask for new pods."""
    predictor = service.spec.predictor.model_dump(
        mode="json", by_alias=True, exclude=set(_NOT_IN_PODS), exclude_none=True, exclude_defaults=True
    )
    restarted = service.metadata.annotations.get(names.ANNOTATION_RESTARTED_AT)
    tokens: dict[str, Any] = {"restartedAt": restarted} if restarted else {}
    unset = sorted(key for key, value in (service.spec.predictor.security_context or {}).items() if value is None)
    tokens |= {"unsetSecurity": unset} if unset else {}
    return _without_empty({"predictor": predictor, **tokens})


def _without_empty(value: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: _without_empty(item) if isinstance(item, Mapping) else item for key, item in value.items()}
    # An empty fragment such as `emptyDir: {}` inside a list says something; an empty struct of ours does not.
    return {key: item for key, item in kept.items() if item not in (None, {}, [])}
