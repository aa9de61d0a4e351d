"""The chart by itself: what Helm accepts, what it refuses, what it renders."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from penstock.adapter.settings import Settings as AdapterSettings
from penstock.controller.settings import Settings
from penstock.router.settings import Settings as RouterSettings

from tests.chart import rendering
from tests.harness import tools

EVERYTHING = f"--values={rendering.EVERYTHING_SET / 'values.yaml'}"

REFUSED = {
    "a misspelt value": ("replica=3", "replica"),
    "no replica at all": ("replicas=0", "replicas"),
    "a number of replicas that is no number": ("replicas=two", "replicas"),
    "a digest without its algorithm": ("image.digest=abc", "digest"),
    "a tag with a space": ("image.tag=a b", "tag"),
    "a pull policy that Kubernetes does not have": ("image.pullPolicy=Sometimes", "pullPolicy"),
    "a namespace in capitals": ("watchNamespaces={Team}", "watchNamespaces"),
    "a Gateway without its namespace": ("networking.allowedGateways={public}", "allowedGateways"),
    "a domain with a wildcard": ("networking.allowedHostSuffixes={*.example.com}", "allowedHostSuffixes"),
    "an unknown setting": ("settings.worker=3", "worker"),
    "a log level that the operator does not have": ("settings.logLevel=loud", "logLevel"),
    "a way to the pods that there is not": ("settings.podAccess=Tunnel", "podAccess"),
    "more workers than the operator takes": ("settings.workers=1000", "workers"),
    "an adapter without a replica": ("adapter.replicas=0", "replicas"),
    "a router without a replica": ("router.replicas=0", "replicas"),
    "a router on a privileged port": ("router.ports.first=80", "first"),
    "a router on ports that nodes give to NodePorts": ("router.ports.last=32768", "last"),
    "router ports from the wrong end": ("router.ports.first=28000", "router.ports.first (28000)"),
    "a router that may hold nothing": ("router.maxHeldRequests=0", "maxHeldRequests"),
    "a scrape interval without its unit": ("monitoring.interval=30", "interval"),
}


def one(kind: str, *flags: str, name: str = "") -> dict[str, Any]:
    (found,) = [o for o in rendering.objects(*flags) if o["kind"] == kind and name in ("", o["metadata"]["name"])]
    return found


def container(*flags: str, of: str = "penstock") -> dict[str, Any]:
    """The container of one of the Deployments: the operator's, the adapter's or the router's."""
    (found,) = one("Deployment", *flags, name=of)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_helm_lints_the_chart_without_a_warning() -> None:
    done = rendering.helm("lint", "--strict", f"--kube-version={tools.KUBERNETES_VERSION}", rendering.CHART)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("value", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_value_is_refused_by_name(value: str, named: str) -> None:
    done = rendering.template("--set", value)

    assert done.returncode != 0
    assert named in done.stderr


@pytest.mark.parametrize("path", rendering.generated(), ids=lambda path: path.name)
def test_a_generated_file_is_what_the_chart_renders(path: Path) -> None:
    assert path.read_text() == rendering.generated()[path], "run `make generate`"


def test_the_values_of_the_golden_file_leave_nothing_at_its_default() -> None:
    defaults = yaml.safe_load((rendering.CHART / "values.yaml").read_text())
    everything = yaml.safe_load((rendering.EVERYTHING_SET / "values.yaml").read_text())

    assert everything.keys() == defaults.keys()
    assert [key for key in defaults if defaults[key] == everything[key]] == []


def test_every_setting_of_the_chart_is_one_that_the_operator_reads() -> None:
    environment = {each["name"]: each.get("value", "from the pod") for each in container(EVERYTHING)["env"]}

    settings = Settings.from_env(environment)

    assert settings.model_dump(
        exclude={name for name in Settings.model_fields if name.startswith(("lease", "log", "metrics", "pod_", "serv"))}
    ) | {"pod_access": settings.pod_access} == {
        "fixed_users": False,
        "allowed_gateways": ("gateways/public", "gateways/internal"),
        "allowed_host_suffixes": ("models.example.com",),
        "namespaces": ("team-a", "team-b"),
        "workers": 4,
        "api_qps": 12.5,
        "api_burst": 25,
        "resync_seconds": 60,
        "prometheus_address": "http://prometheus.example.com:9090",
        "router_service": "penstock-router",
        "router_namespace": "penstock-system",
        "router_replicas": 3,
        "router_first_port": 30000,
        "router_last_port": 30999,
        "pod_access": "ApiServer",
    }
    assert {name.removeprefix("PENSTOCK_").lower() for name in environment} <= Settings.model_fields.keys()


@pytest.mark.parametrize("flags", [(), (EVERYTHING,)], ids=["by default", "with everything set"])
def test_every_pod_passes_the_restricted_pod_security_standard(flags: tuple[str, ...]) -> None:
    assert rendering.pods(*flags)
    for pod in rendering.pods(*flags):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_users_of_pods_can_be_left_to_the_cluster() -> None:
    """OpenShift's restricted-v2 admits no pod that names a user outside its namespace's range."""
    assert [pod["securityContext"]["runAsUser"] for pod in rendering.pods()] == [65532] * 4
    for pod in rendering.pods("--set=fixedUsers=false"):
        assert pod["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}
    assert {"name": "PENSTOCK_FIXED_USERS", "value": "false"} in container("--set=fixedUsers=false")["env"]


@pytest.mark.parametrize(("flags", "is_aggregated"), [((), True), (("--set=userRoles.aggregateEdit=false",), False)])
def test_writing_services_can_be_left_out_of_the_roles_edit_and_admin(
    flags: tuple[str, ...], is_aggregated: bool
) -> None:
    (edit,) = [o for o in rendering.objects(*flags) if o["metadata"]["name"] == "penstock-edit"]
    aggregations = {label for label in edit["metadata"]["labels"] if label.startswith("rbac.authorization.k8s.io/")}
    assert bool(aggregations) is is_aggregated
    assert edit["rules"][0]["verbs"] == ["create", "update", "patch", "delete", "deletecollection"]


def test_the_definition_outlives_the_release() -> None:
    assert one("CustomResourceDefinition")["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_no_right_is_a_wildcard_and_none_is_to_secrets_but_the_adapter_s_own() -> None:
    rules = [rule for o in rendering.objects() if o["kind"] in ("ClusterRole", "Role") for rule in o["rules"]]

    assert [rule for rule in rules if "*" in rule["apiGroups"] + rule["resources"] + rule["verbs"]] == []
    assert [(rule["verbs"], rule.get("resourceNames")) for rule in rules if "secrets" in rule["resources"]] == [
        (["create"], None),
        (["get", "update"], ["penstock-metrics-adapter-tls"]),
    ]


def test_the_adapter_reads_what_the_chart_sets() -> None:
    environment = {each["name"]: each["value"] for each in container(EVERYTHING, of="penstock-metrics-adapter")["env"]}

    assert AdapterSettings.from_env(environment) == AdapterSettings(
        namespaces=("team-a", "team-b"),
        service_namespace="penstock-system",
        service_name="penstock-metrics-adapter",
        secret_name="penstock-metrics-adapter-tls",
        owner_cluster_role="penstock-metrics-adapter",
        log_level="debug",
        log_format="console",
    )
    assert {name.removeprefix("PENSTOCK_").lower() for name in environment} <= AdapterSettings.model_fields.keys()


def test_without_the_adapter_nothing_of_it_is_left() -> None:
    assert "metrics-adapter" not in rendering.rendered("--set=adapter.enabled=false")


def test_the_router_reads_what_the_chart_sets() -> None:
    variables = container(EVERYTHING, of="penstock-router")["env"]
    environment = {each["name"]: each.get("value", "from-the-pod") for each in variables}

    assert RouterSettings.from_env(environment) == RouterSettings(
        namespaces=("team-a", "team-b"),
        first_port=30000,
        last_port=30999,
        max_held_requests=500,
        replicas=3,
        pod_name="from-the-pod",
        log_level="debug",
        log_format="console",
    )
    assert {name.removeprefix("PENSTOCK_").lower() for name in environment} <= RouterSettings.model_fields.keys()


def test_the_router_has_the_time_that_it_takes_to_stop() -> None:
    pod = one("Deployment", name="penstock-router")["spec"]["template"]["spec"]
    settings = RouterSettings.from_env({each["name"]: each.get("value", "x") for each in pod["containers"][0]["env"]})

    assert pod["terminationGracePeriodSeconds"] == settings.drain_seconds + settings.grace_seconds + 10


def test_the_router_s_service_selects_its_pods_and_no_others() -> None:
    selector = one("Service", name="penstock-router")["spec"]["selector"]
    deployments = [o for o in rendering.objects() if o["kind"] == "Deployment"]
    selected = [
        o["metadata"]["name"]
        for o in deployments
        if selector.items() <= o["spec"]["template"]["metadata"]["labels"].items()
    ]

    assert selected == ["penstock-router"]


def test_everybody_may_connect_to_the_services_ports_of_the_router() -> None:
    anybody, _ = one("NetworkPolicy", name="penstock-router")["spec"]["ingress"]

    assert anybody == {"ports": [{"port": 20000, "endPort": 27999}]}


@pytest.mark.parametrize("scope", [(), ("--set=watchNamespaces={team-a}",)], ids=["everywhere", "in one namespace"])
def test_the_router_writes_statuses_and_nothing_else(scope: tuple[str, ...]) -> None:
    roles = [o for o in rendering.objects(*scope) if "rules" in o and o["metadata"]["name"] == "penstock-router"]
    writes = {"create", "update", "patch", "delete", "deletecollection"}
    rules = [rule for role in roles for rule in role["rules"] if writes & set(rule["verbs"])]

    assert [(rule["resources"], rule["verbs"]) for rule in rules] == [(["inferenceservices/status"], ["patch"])]


@pytest.mark.parametrize("is_enabled", [True, False])
def test_the_operator_writes_endpoint_slices_only_where_there_is_a_router(is_enabled: bool) -> None:
    flags = () if is_enabled else ("--set=router.enabled=false",)
    rules = [rule for o in rendering.objects(*flags) if "rules" in o for rule in o["rules"]]
    verbs = {verb for rule in rules if "endpointslices" in rule["resources"] for verb in rule["verbs"]}
    told = {each["name"] for each in container(*flags)["env"]}

    # Those of services that slept go when they are awake, also where the router was switched off meanwhile.
    assert verbs == {"get", "list", "watch", "delete"} | ({"create", "patch"} if is_enabled else set())
    assert any("endpointslices/restricted" in rule["resources"] for rule in rules) is is_enabled
    assert ("PENSTOCK_ROUTER_SERVICE" in told) is is_enabled


def test_the_operator_finds_the_routers_also_where_it_watches_some_namespaces_only() -> None:
    role = one("Role", "--set=watchNamespaces={team-a}", name="penstock-router-endpoints")

    assert role["metadata"]["namespace"] == rendering.NAMESPACE
    assert [rule["resources"] for rule in role["rules"]] == [["endpointslices"]]


def test_without_the_router_nothing_of_it_is_left() -> None:
    assert "router" not in rendering.rendered("--set=router.enabled=false,crd.create=false")


def test_a_long_release_name_leaves_every_service_a_name_that_is_allowed() -> None:
    done = rendering.helm("template", "r" * 53, rendering.CHART, f"--kube-version={tools.KUBERNETES_VERSION}")
    names = {o["metadata"]["name"] for o in yaml.safe_load_all(done.stdout) if o and o["kind"] == "Service"}

    assert len(names) == 3
    assert max(len(name) for name in names) <= 63


def test_watching_some_namespaces_takes_no_write_from_the_rest() -> None:
    (cluster_wide,) = [
        o for o in rendering.objects(EVERYTHING) if o["metadata"]["name"] == "penstock" and o["kind"] == "ClusterRole"
    ]
    roles = [o for o in rendering.objects(EVERYTHING) if o["kind"] == "Role" and o["metadata"]["name"] == "penstock"]

    # A review is a question, though it is asked by creating one.
    rules = [rule for rule in cluster_wide["rules"] if rule["resources"] != ["subjectaccessreviews"]]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"list", "watch"}
    assert [role["metadata"]["namespace"] for role in roles] == ["team-a", "team-b"]


@pytest.mark.parametrize(("access", "verbs"), [("Direct", []), ("ApiServer", ["get", "create"]), ("None", [])])
@pytest.mark.parametrize("scope", [(), ("--set=watchNamespaces={team-a}",)], ids=["everywhere", "in one namespace"])
def test_pods_may_be_reached_through_the_api_server_only_where_that_is_chosen(
    access: str, verbs: list[str], scope: tuple[str, ...]
) -> None:
    roles = [o for o in rendering.objects(f"--set=settings.podAccess={access}", *scope) if "rules" in o]
    rules = [rule for role in roles for rule in role["rules"] if "pods/proxy" in rule["resources"]]

    assert [verb for rule in rules for verb in rule["verbs"]] == verbs


def test_one_replica_has_no_disruption_budget_that_would_block_a_drain() -> None:
    kinds = [o["kind"] for o in rendering.objects("--set=replicas=1,adapter.replicas=1,router.replicas=1")]

    assert "PodDisruptionBudget" not in kinds
