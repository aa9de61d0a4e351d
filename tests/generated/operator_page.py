"""docs/reference/operator.md, from the operator's settings."""

from penstock.controller.settings import Settings

from tests.generated import settings

PAGE = """\
<!-- Generated from penstock.controller.settings; run `make generate` after a change. -->
# The operator

`penstock run` is the operator; the [chart](chart.md) starts it. Outside the cluster it runs with your kubeconfig.

## Settings

A flag wins over its variable. The chart's `settings` set the variables by the same names in camelCase, such as
`apiQps`; it sets namespaces, image and Lease by itself.

{settings}
## HTTP

One port, `--metrics-port`, named `http-metrics` in the chart:

| path | |
|---|---|
| `/healthz` | 200 while the event loop runs and the watches keep up, else 503: the kubelet restarts it |
| `/readyz` | 200 when all kinds are listed and no [other release](releases.md) acts, else 503 |
| `/metrics` | [Prometheus metrics](metrics.md#operator) |

## Reaching the pods

For the progress of loading models, the smoke test and an analysis the operator asks the pods themselves.
`--pod-access`, in the chart `settings.podAccess`, says how:

| | | |
|---|---|---|
| `Direct` | on the pod's own address | the default; NetworkPolicies on the models must let the operator in |
| `ApiServer` | by the API server, at `/api/v1/namespaces/NS/pods/NAME:PORT/proxy/PATH` | for an operator outside the \
cluster, or one that a NetworkPolicy keeps away from the pods; the API server must reach them |
| `None` | not at all | no progress, no smoke test, and no data for an analysis |

Pods that answer late, or never, hold up their own rollout alone: the operator asks them beside its work on other
services, with at most 384 requests of smoke tests, 128 of measurements and 256 for progress at a time, and at most 8 of
each to the pods of one service. An operator that takes over asks again what the one before had asked.

`ApiServer` costs the right to `get` and `create` `pods/proxy` in the namespaces looked after, which the chart grants
only then: whoever has the operator's credentials can send any request to any pod there. What else differs:

* The credentials stay with the API server: it takes them off each request. Pods get its `X-Forwarded-*` headers
  instead.
* An answer of the API server itself fails the smoke test, whatever `expectStatus` is, and the message says so: `GET /:
  the API server, not the pod, answered pods/proxy with 503 ServiceUnavailable: error trying to reach service: …`. It is
  known by its body, an error with an object of kind `Status`; a pod that answers with one of its own fails, too. An
  error page of something in front of the API server counts as the pod's.
* The API server rewrites the links of HTML pages, and in a path makes one slash of several and a slash of `%2F`. A path
  with `.` or `..` in it fails the smoke test: it might go somewhere else before it gets to the pod.
"""


def render() -> str:
    """The page, byte for byte."""
    return PAGE.format(settings=settings.table_of(Settings))
