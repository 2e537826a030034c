"""A real OAP: whether it serves, and what it has received."""

import base64
import datetime
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import grpc

from tests.hosts.clients import grpcio
from tests.hosts.clients.tls import Tls
from tests.hosts.progress import LabError

GRPC_PORT = 11800
HTTP_PORT = 12800
HEALTH = "/grpc.health.v1.Health/Check"
COLLECT = "/skywalking.v3.TraceSegmentReportService/collect"
SERVING = b"\x08\x01"
PAGE = 500
MAX_PAGES = 200

_TRACES = """
query ($condition: TraceQueryCondition!) {
  queryBasicTraces(condition: $condition) { traces { segmentId } }
}
"""
_INSTANCES = """
query ($duration: Duration!, $service: ID!) {
  listInstances(duration: $duration, serviceId: $service) { name }
}
"""


def trouble(
    address: str,
    seconds: float = 2.0,
    *,
    tls: Tls | None = None,
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Return why this OAP cannot be used yet, or an empty string where it serves."""
    pairs = tuple((metadata or {}).items())
    try:
        with grpcio.channel(f"{address}:{GRPC_PORT}", tls) as channel:
            check = channel.unary_unary(HEALTH, bytes, bytes)
            answer = check(b"", timeout=seconds, metadata=pairs)
    except grpc.RpcError as error:
        return f"gRPC {address}:{GRPC_PORT}: {error.code().name} {error.details()}"
    if answer != SERVING:
        return f"gRPC {address}:{GRPC_PORT}: not serving"
    try:
        graphql(address, "query { version }", {}, seconds)
    except LabError as error:
        return str(error)
    return ""


def graphql(
    address: str, query: str, variables: dict[str, Any], seconds: float = 10.0
) -> dict[str, Any]:
    """Ask the OAP's GraphQL and return the data of its answer."""
    url = f"http://{address}:{HTTP_PORT}/graphql"
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=seconds) as response:
            answer = json.load(response)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise LabError(f"GraphQL {url}: {error}") from error
    if answer.get("errors"):
        raise LabError(f"GraphQL {url}: {answer['errors']}")
    data: dict[str, Any] = answer["data"]
    return data


def segments(address: str, service: str) -> set[str]:
    """Return the ids of the segments of a service that are in this OAP's storage."""
    found: set[str] = set()
    for duration in last_hour(_now(), "SECOND", "%Y-%m-%d %H%M%S"):
        for page in range(1, MAX_PAGES + 1):
            condition = {
                "serviceId": _service_id(service),
                "queryDuration": duration,
                "traceState": "ALL",
                "queryOrder": "BY_START_TIME",
                "paging": {"pageNum": page, "pageSize": PAGE},
            }
            traces = graphql(address, _TRACES, {"condition": condition})["queryBasicTraces"]
            listed = traces["traces"]
            found.update(trace["segmentId"] for trace in listed)
            if len(listed) < PAGE:
                break
        else:
            raise LabError(f"OAP {address} lists over {MAX_PAGES * PAGE} segments of {service}")
    return found


def instances(address: str, service: str) -> set[str]:
    """Return the instances of a service that have registered at this OAP."""
    names: set[str] = set()
    for duration in last_hour(_now(), "MINUTE", "%Y-%m-%d %H%M"):
        variables = {"duration": duration, "service": _service_id(service)}
        names.update(
            row["name"] for row in graphql(address, _INSTANCES, variables)["listInstances"]
        )
    return names


def _service_id(service: str) -> str:
    return base64.b64encode(service.encode()).decode() + ".1"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)  # the hosts' clocks are on UTC


def last_hour(now: datetime.datetime, step: str, form: str) -> Iterator[dict[str, str]]:
    """Yield the last hour, in two parts around midnight.

    An OAP that was started since keeps nothing of the day before, and answers nothing where both
    are asked for at once.
    """
    start, end = now - datetime.timedelta(hours=1), now + datetime.timedelta(minutes=1)
    while start.date() < end.date():
        midnight = (start + datetime.timedelta(days=1)).replace(hour=0, minute=0, second=0)
        last = midnight - datetime.timedelta(seconds=1)
        yield {"start": start.strftime(form), "end": last.strftime(form), "step": step}
        start = midnight
    yield {"start": start.strftime(form), "end": end.strftime(form), "step": step}
