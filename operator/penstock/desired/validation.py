"""What the CRD's own rules cannot say, because they cannot look into a custom container or compare quantities.

Each check is named after the fault it finds and yields one `FieldError` per place; the message says how to mend it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from penstock import cron, names, pod_metrics, quantity
from penstock.api.predictor import Predictor
from penstock.api.v1alpha1 import InferenceService, InferenceServiceSpec
from penstock.desired import autoscaler, shapes


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of a spec: the JSON path of the field, and what to write instead."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Requirements:
    """The compute resources of the serving container and where they stand in the spec."""

    field: str
    requests: Mapping[str, Any]
    limits: Mapping[str, Any]

    def amounts(self, side: str) -> dict[str, Decimal]:
        """The well-formed amounts of `requests` or `limits`, in base units."""
        entries = self.requests if side == "requests" else self.limits
        return {name: quantity.parse(value) for name, value in entries.items() if _is_quantity(value)}


def validate(isvc: InferenceService) -> list[FieldError]:
    """Every fault of the spec, in the order of the checks; an empty list for a spec that can be carried out."""
    predictor = isvc.spec.predictor
    resources = requirements(predictor)
    # The other checks look into the fragments.
    return [*malformed_fragments(predictor)] or [
        *malformed_quantities(resources),
        *negative_quantities(resources),
        *requests_above_limits(resources),
        *extended_resources_that_differ(resources),
        *fractions_of_a_device(resources),
        *metric_without_request(isvc.spec, resources),
        *metric_given_twice(isvc.spec),
        *target_without_meaning(isvc.spec),
        *metric_without_series(predictor),
        *schedule_without_times(isvc.spec),
    ]


def requirements(predictor: Predictor) -> Requirements:
    """The resources of whichever container serves: the model server's, or the custom one's."""
    if predictor.model is not None:
        resources = predictor.model.resources
        return Requirements("spec.predictor.model.resources", resources.requests, resources.limits)
    container = predictor.containers[0] if predictor.containers else {}
    custom = _mapping(container.get("resources"))
    return Requirements(
        "spec.predictor.containers[0].resources", _mapping(custom.get("requests")), _mapping(custom.get("limits"))
    )


def can_be_autoscaled(isvc: InferenceService) -> bool:
    """Whether an autoscaler would have what it measures against."""
    predictor = isvc.spec.predictor
    faults = (
        *metric_without_request(isvc.spec, requirements(predictor)),
        *metric_without_series(predictor),
        *target_without_meaning(isvc.spec),
    )
    return not faults


def malformed_fragments(predictor: Predictor) -> Iterator[FieldError]:
    for path, fault in shapes.misshapen(predictor):
        yield FieldError(path, fault)


def malformed_quantities(resources: Requirements) -> Iterator[FieldError]:
    for side, entries in (("requests", resources.requests), ("limits", resources.limits)):
        for name, value in entries.items():
            if not _is_quantity(value):
                yield FieldError(
                    f"{resources.field}.{side}[{name}]", f"{value!r} is not a quantity; write 500m, 2 or 4Gi"
                )


def negative_quantities(resources: Requirements) -> Iterator[FieldError]:
    for side in ("requests", "limits"):
        for name, amount in resources.amounts(side).items():
            if amount < 0:
                yield FieldError(f"{resources.field}.{side}[{name}]", "must not be negative")


def requests_above_limits(resources: Requirements) -> Iterator[FieldError]:
    limits = resources.amounts("limits")
    for name, amount in resources.amounts("requests").items():
        if not names.is_extended(name) and name in limits and amount > limits[name]:
            yield FieldError(
                f"{resources.field}.requests[{name}]",
                f"{resources.requests[name]} is more than the limit of {resources.limits[name]}; raise the limit",
            )


def extended_resources_that_differ(resources: Requirements) -> Iterator[FieldError]:
    """Kubernetes cannot overcommit a device: a request must equal its limit, and cannot stand alone."""
    limits = resources.amounts("limits")
    for name, amount in resources.amounts("requests").items():
        if names.is_extended(name) and limits.get(name) != amount:
            yield FieldError(
                f"{resources.field}.requests[{name}]",
                f"must equal limits[{name}]; leave the request out and write {resources.requests[name]} as the limit",
            )


def fractions_of_a_device(resources: Requirements) -> Iterator[FieldError]:
    for name, amount in resources.amounts("limits").items():
        if names.is_extended(name) and amount != amount.to_integral_value():
            yield FieldError(f"{resources.field}.limits[{name}]", "must be a whole number of devices")


def metric_without_request(spec: InferenceServiceSpec, resources: Requirements) -> Iterator[FieldError]:
    """The autoscaler measures cpu and memory in percent of the request, so there has to be one."""
    given = {"spec.predictor.scaleMetric": spec.predictor.scale_metric} | {
        f"spec.autoscaling.metrics[{index}].resource": metric.resource
        for index, metric in enumerate(spec.autoscaling.metrics)
    }
    for field, metric in given.items():
        if not spec.predictor.autoscales or metric not in ("cpu", "memory"):
            continue
        if metric not in resources.requests and metric not in resources.limits:
            yield FieldError(
                field, f"{metric} is measured against the request; set {resources.field}.requests.{metric}"
            )


def target_without_meaning(spec: InferenceServiceSpec) -> Iterator[FieldError]:
    """The autoscaler's own refusal would name a field of an object that the user has not written."""
    for index, metric in enumerate(spec.autoscaling.metrics):
        field = f"spec.autoscaling.metrics[{index}]"
        if metric.series in pod_metrics.METRICS:
            yield FieldError(f"{field}.series", f"{metric.series} is served already: use predictor.scaleMetric")
        if metric.target is None:
            continue
        if not _is_quantity(metric.target) or quantity.parse(metric.target) <= 0:
            yield FieldError(f"{field}.target", f"{metric.target!r} must be a quantity above 0, such as 10 or 800m")
        elif metric.resource and quantity.parse(metric.target) % 1:
            yield FieldError(f"{field}.target", f"{metric.target!r} must be a whole number of percent, such as 70")


def metric_given_twice(spec: InferenceServiceSpec) -> Iterator[FieldError]:
    """An autoscaler that is asked for one resource at two targets follows the lower one, which nobody reads there."""
    seen: set[str] = {spec.predictor.scale_metric}
    for index, metric in enumerate(spec.autoscaling.metrics):
        name = metric.resource or metric.series
        if name and name in seen:
            yield FieldError(
                f"spec.autoscaling.metrics[{index}]", f"{name} has a target already; leave one of them out"
            )
        seen.add(name or "")


def metric_without_series(predictor: Predictor) -> Iterator[FieldError]:
    """Not every server counts everything: Triton and TEI do not say how many requests are under way."""
    metric = autoscaler.POD_METRICS.get(predictor.scale_metric)
    if not predictor.autoscales or metric is None or pod_metrics.of(predictor.metrics).by_metric[metric]:
        return
    preset = predictor.metrics.preset if predictor.metrics else ""
    yield FieldError(
        "spec.predictor.scaleMetric",
        f"{preset} does not say its {predictor.scale_metric}: "
        "use rps or queueDepth, or name a series in metrics.inFlight",
    )


def schedule_without_times(spec: InferenceServiceSpec) -> Iterator[FieldError]:
    """A schedule whose expressions or zone nobody can read, or that ends whenever it starts."""
    for index, schedule in enumerate(spec.autoscaling.schedules):
        field = f"spec.autoscaling.schedules[{index}]"
        faults = [
            *_fault(f"{field}.start", cron.parse, schedule.start),
            *_fault(f"{field}.end", cron.parse, schedule.end),
            *_fault(f"{field}.timezone", cron.zone, schedule.zone),
        ]
        yield from faults
        if not faults and cron.are_same(cron.parse(schedule.start), cron.parse(schedule.end)):
            yield FieldError(f"{field}.end", "fires at the same times as start; write the times at which it is to end")


def _fault(field: str, read: Callable[[str], object], text: str) -> Iterator[FieldError]:
    try:
        read(text)
    except ValueError as error:
        yield FieldError(field, str(error))


def _is_quantity(value: object) -> bool:
    # bool is an int to Python; to the API server it is no quantity.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        quantity.parse(value)
    except ValueError:
        return False
    return True


def _mapping(value: object) -> Mapping[str, Any]:
    """The value if it is an object; another shape is the API server's to refuse, in its own words."""
    return value if isinstance(value, Mapping) else {}
