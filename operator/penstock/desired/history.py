"""The ControllerRevision that stores a revision's pod template, so that an operator upgrade restarts nothing."""

from penstock import names
from penstock.api.v1alpha1 import InferenceService
from penstock.desired import metadata
from penstock.kinds import CONTROLLER_REVISION, Manifest


def controller_revision(service: InferenceService, revision: str, number: int, template: Manifest) -> Manifest:
    """`number` counts the service's revisions from 1, as in a StatefulSet's history."""
    content = {"revision": number, "data": {"template": template}}
    name = names.controller_revision(service.metadata.name, revision)
    extra = {names.LABEL_REVISION: revision}
    return metadata.child(service, CONTROLLER_REVISION, name, content, extra_labels=extra)
