"""The API server, for everything the operator reads and writes: raw JSON over the official client's transport.

Typed models are left aside: they cost a multiple of the CPU, and server-side apply wants exactly the fields we set.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio import client, config

from penstock import errors, names
from penstock.kinds import ACCESS_REVIEW, INFERENCE_SERVICE, LEASE, POD, Kind, Manifest, kind_of
from penstock.kube import leader, release
from penstock.kube.pod_access import Address, Message
from penstock.kube.throttle import TokenBucket

_APPLY: Final = "application/apply-patch+yaml"  # JSON is YAML.
_MERGE: Final = "application/merge-patch+json"
_JSON: Final = "application/json"
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
_PAGE: Final = 500
# A watch that says nothing for this long is taken for dead: bookmarks come about every minute.
_SILENCE_SECONDS: Final = 90
_WATCH_SECONDS: Final = 300
_PROXY_VERBS: Final = {"GET": "get", "POST": "create"}


class RequestCounter(Protocol):
    def api_request(self, verb: str, resource: str, code: int) -> None:
        """Count one answer of the API server; code 0 stands for no answer."""


class Cluster(Protocol):
    """What a pass needs of the API server. Every call raises errors.ApiError or errors.Unreachable."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None: ...

    async def serves(self, kind: Kind, namespace: str) -> bool:
        """Whether the cluster knows the kind at all."""

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply as `penstock`, by force.

        With metadata.uid it never creates, and with a metadata.resourceVersion that the object does not have it never
        updates: Conflict instead.
        """

    async def merge(
        self, kind: Kind, namespace: str, name: str, patch: Manifest, *, subresource: str = ..., manager: str = ...
    ) -> Manifest: ...

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly that object; one that is gone already is as good."""

    async def create(self, kind: Kind, manifest: Manifest) -> Manifest: ...


class ApiServer:
    """The live Cluster, and what watching and leader election need besides."""

    def __init__(self, api: client.ApiClient, metrics: RequestCounter, writes: TokenBucket) -> None:
        self._api = api
        self._metrics = metrics
        self._writes = writes

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        try:
            return await self._call("get", kind, kind.path(namespace, name))
        except errors.NotFound:
            return None

    async def serves(self, kind: Kind, namespace: str) -> bool:
        try:
            await self._call("list", kind, kind.path(namespace), query={"limit": "1"}, accept=_METADATA_ONLY)
        except errors.NotFound:
            return False
        return True

    async def apply(self, manifest: Manifest) -> Manifest:
        kind, metadata = kind_of(manifest), manifest["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"])
        query = {"fieldManager": names.FIELD_MANAGER, "force": "true"}
        return await self._write("apply", kind, path, manifest, method="PATCH", content_type=_APPLY, query=query)

    async def merge(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: Manifest,
        *,
        subresource: str = "",
        manager: str = names.FIELD_MANAGER,
    ) -> Manifest:
        path = kind.path(namespace, name, subresource)
        query = {"fieldManager": manager}
        return await self._write("patch", kind, path, patch, method="PATCH", content_type=_MERGE, query=query)

    async def create(self, kind: Kind, manifest: Manifest) -> Manifest:
        path = kind.path(manifest["metadata"].get("namespace"))
        return await self._write("create", kind, path, manifest, method="POST")

    async def replace(self, kind: Kind, manifest: Manifest) -> Manifest:
        metadata = manifest["metadata"]
        path = kind.path(metadata.get("namespace"), metadata["name"])
        return await self._write("update", kind, path, manifest, method="PUT")

    async def review(self, spec: Manifest) -> bool:
        """Whether a SubjectAccessReview of that spec is allowed."""
        body = {"apiVersion": ACCESS_REVIEW.api_version, "kind": ACCESS_REVIEW.name, "spec": spec}
        answer = await self._call("create", ACCESS_REVIEW, ACCESS_REVIEW.path(), method="POST", body=body)
        return bool(answer["status"]["allowed"])

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._write("delete", kind, kind.path(namespace, name), body, method="DELETE")
        except errors.NotFound:
            return

    async def pages(
        self, kind: Kind, namespace: str | None, *, selector: str | None = None, metadata_only: bool = False
    ) -> AsyncIterator[Manifest]:
        """List in chunks; each page is the API's List, whose metadata.resourceVersion is that of the whole list."""
        query = {"limit": str(_PAGE), **({"labelSelector": selector} if selector else {})}
        accept = _METADATA_ONLY if metadata_only else _JSON
        while True:
            page = await self._call("list", kind, kind.path(namespace), query=query, accept=accept)
            # Metadata alone of nothing at all comes as null.
            page["items"] = page["items"] or []
            yield page
            if not page["metadata"].get("continue"):
                return
            query["continue"] = page["metadata"]["continue"]

    async def watch(
        self, kind: Kind, namespace: str | None, *, since: str, selector: str | None = None
    ) -> AsyncIterator[Manifest]:
        """Yield watch events until the server, or silence, ends the stream. Raises errors.Gone when `since` is old."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
            "resourceVersion": since,
            **({"labelSelector": selector} if selector else {}),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_SILENCE_SECONDS)
        async with self._request("watch", kind, kind.path(namespace), query=query, timeout=timeout) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield _event(line)

    async def _write(
        self,
        verb: str,
        kind: Kind,
        path: str,
        body: Manifest,
        *,
        method: str,
        content_type: str = _JSON,
        query: Mapping[str, str] | None = None,
    ) -> Manifest:
        # A lease that waits behind a thousand other writes is lost.
        if kind is not LEASE:
            await self._writes.acquire()
        return await self._call(verb, kind, path, method=method, query=query, body=body, content_type=content_type)

    async def _call(
        self,
        verb: str,
        kind: Kind,
        path: str,
        *,
        method: str = "GET",
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Manifest:
        headers = {"Accept": accept, "Content-Type": content_type}
        async with self._request(
            verb, kind, path, method=method, query=query, body=body, headers=headers, timeout=_TIMEOUT
        ) as response:
            found: Manifest = orjson.loads(await response.read())
            return found

    @asynccontextmanager
    async def _request(
        self,
        verb: str,
        kind: Kind,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - of the HTTP client, for each of its steps.
        method: str = "GET",
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = f"{self._api.configuration.host}{path}{'?' + urlencode(query) if query else ''}"
        try:
            answer = await self._api.rest_client.request(  # type: ignore[no-untyped-call]
                method,
                url,
                headers={**await _authorization(self._api), **(headers or {})},
                body=body,
                _request_timeout=timeout,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._metrics.api_request(verb, kind.plural, 0)
            raise errors.Unreachable(f"{verb} {kind}: {error!r}") from error
        self._metrics.api_request(verb, kind.plural, answer.status)
        response: aiohttp.ClientResponse = answer.response
        async with response:
            try:
                if response.status >= 400:
                    raise await _failure(response)
                yield response
            # What is no JSON came from something in between, a proxy or a load balancer.
            except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
                raise errors.Unreachable(f"{verb} {kind}: {error!r}") from error

    @asynccontextmanager
    async def pod_proxy(self) -> AsyncIterator["ApiServerPodProxy"]:
        """The way through it to the pods, on connections of its own: no cookie of a pod's is sent anywhere."""
        connector = aiohttp.TCPConnector(ssl=self._api.rest_client.ssl_context, limit=0)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield ApiServerPodProxy(self._api, session, self._metrics)


class ApiServerPodProxy:
    """Pods, as the API server reaches them; it takes the operator's credentials off what it passes on."""

    def __init__(self, api: client.ApiClient, session: aiohttp.ClientSession, metrics: RequestCounter) -> None:
        self._api = api
        self._session = session
        self._metrics = metrics

    @asynccontextmanager
    async def request(self, pod: Address, message: Message) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer of the pod, or of the API server. Raises ClientError, TimeoutError, ValueError."""
        configuration, path = self._api.configuration, POD.path(pod.namespace, f"{pod.name}:{message.port}", "proxy")
        async with self._session.request(
            message.method,
            f"{configuration.host}{path}{message.path}",
            data=message.body,
            headers={**await _authorization(self._api), **message.headers},
            timeout=message.timeout,
            # A pod would send the operator's credentials to where it likes.
            allow_redirects=False,
            server_hostname=configuration.tls_server_name,
            proxy=configuration.proxy,
            proxy_headers=configuration.proxy_headers,
        ) as response:
            self._metrics.api_request(_PROXY_VERBS[message.method], f"{POD.plural}/proxy", response.status)
            yield response


class KubernetesLeases:
    """Leader election's view of the API server."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    async def get(self, namespace: str, name: str) -> release.Lease | None:
        return await self._server.get(LEASE, namespace, name)

    async def create(self, lease: release.Lease) -> release.Lease:
        try:
            return await self._server.create(LEASE, lease)
        except errors.Conflict as error:
            raise leader.LeaseConflict(error.message) from error

    async def replace(self, lease: release.Lease) -> release.Lease:
        try:
            return await self._server.replace(LEASE, lease)
        except errors.Conflict as error:
            raise leader.LeaseConflict(error.message) from error

    async def of_all_releases(self) -> list[release.Lease]:
        pages = self._server.pages(LEASE, None, selector=release.SELECTOR)
        return [lease async for page in pages for lease in page["items"]]

    async def may_serve(self, other: release.Release, namespace: str) -> bool:
        attributes = {
            "group": names.GROUP,
            "resource": INFERENCE_SERVICE.plural,
            "subresource": "status",
            "verb": "patch",
            **({"namespace": namespace} if namespace else {}),
        }
        # A ServiceAccount of the lease's own namespace, so that nobody can speak for one elsewhere.
        return await self._server.review(
            {
                "user": f"system:serviceaccount:{other.namespace}:{other.service_account}",
                "groups": ["system:serviceaccounts", f"system:serviceaccounts:{other.namespace}"],
                "resourceAttributes": attributes,
            }
        )


@asynccontextmanager
async def connect(metrics: RequestCounter, writes: TokenBucket, kubeconfig: str | None) -> AsyncIterator[ApiServer]:
    """A connection as the pod's ServiceAccount, or as the kubeconfig says where there is none."""
    configuration = await credentials(kubeconfig)
    # No limit: every watched namespace holds seven connections open for good, and a full pool would starve the lease.
    # What is written at a time is bounded by the workers.
    configuration.connection_pool_maxsize = 0
    # aiohttp would read ~/.netrc in a thread before every single request.
    configuration.client_session_kwargs = {"trust_env": False}
    async with client.ApiClient(configuration) as api:
        yield ApiServer(api, metrics, writes)


async def credentials(kubeconfig: str | None) -> client.Configuration:
    """Raises kubernetes.aio.config.ConfigException when there is neither a ServiceAccount nor a kubeconfig."""
    configuration = client.Configuration()
    if kubeconfig is None:
        try:
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return configuration
    await config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
    return configuration


async def _authorization(api: client.ApiClient) -> dict[str, str]:
    # The client's own hook rereads a projected token before it expires.
    token = await api.configuration.get_api_key_with_prefix("BearerToken")
    return {"authorization": token} if token else {}


def _event(line: bytes) -> Manifest:
    event: Manifest = orjson.loads(line)
    if event["type"] == "ERROR":
        raise errors.from_status(event["object"].get("code", 500), event["object"], None)
    return event


async def _failure(response: aiohttp.ClientResponse) -> errors.ApiError:
    text = await response.read()
    try:
        body = dict(orjson.loads(text))
    except (TypeError, ValueError):
        body = {"reason": response.reason, "message": text.decode(errors="replace")[:500]}
    return errors.from_status(response.status, body, response.headers.get("Retry-After"))
