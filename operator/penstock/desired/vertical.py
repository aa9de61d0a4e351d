"""The VerticalPodAutoscaler: what the serving container of a pod should request, by what its pods have used."""

from penstock.api.autoscaling import Vertical
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import VERTICAL_AUTOSCALER, Manifest


def vertical_autoscaler(service: InferenceService, vertical: Vertical, container: str) -> Manifest:
    """`container` is the one that serves; others, such as a mesh's, are left as whoever put them there wants them."""
    bounds = {
        name: amounts.to_dict()
        for name, amounts in (("minAllowed", vertical.min_allowed), ("maxAllowed", vertical.max_allowed))
        if amounts is not None
    }
    spec = {
        "targetRef": metadata.target(service),
        "updatePolicy": {"updateMode": vertical.mode},
        "resourcePolicy": {
            "containerPolicies": [
                {"containerName": container, **bounds},
                {"containerName": "*", "mode": "Off"},
            ]
        },
    }
    return metadata.child(service, VERTICAL_AUTOSCALER, service.metadata.name, {"spec": spec})
