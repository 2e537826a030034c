"""What a failing OAP costs, behind every balancing method at once."""

import asyncio
import time
from collections import Counter
from concurrent.futures import Future

import pytest

from tests.resilience.conftest import (
    BALANCES,
    SILENT_SECONDS,
    SILENT_STREAMS,
    STANDIN_PORTS,
    StandIns,
    Vanishing,
)
from tests.resilience.load import Call, Load, hold

BEFORE, OUTAGE, AFTER = 1.5, 2.0, 3.0
# fail_timeout of the upstreams: so long nginx remembers a failure.
MEMORY = 5.0
HELD = 20
# A call that is in flight when its OAP goes cannot be saved: nginx keeps no copy of it.
IN_FLIGHT = 0.2
# Of grpc_connect_timeout, 500 ms.
LATE = 0.4


def loads(targets: dict[str, str]) -> dict[str, Load]:
    """One load for each balancing method."""
    return {name: Load(targets[name]) for name in BALANCES}


async def during(all_loads: dict[str, Load], seconds: float) -> None:
    """Run all of them side by side."""
    await asyncio.gather(*(load.run(seconds) for load in all_loads.values()))


def told(calls: list[Call]) -> Counter[str]:
    """The statuses of calls and their messages, counted."""
    return Counter(f"{call.code}: {call.message}" for call in calls)


@pytest.mark.parametrize("port", STANDIN_PORTS)
def test_a_killed_oap_of_two_costs_only_calls_in_flight(
    port: int, targets: dict[str, str], standins: StandIns
) -> None:
    """No call that began after the kill fails, whichever of the two is gone."""

    async def scenario() -> tuple[dict[str, Load], float]:
        running = loads(targets)
        work = asyncio.create_task(during(running, BEFORE + OUTAGE))
        await asyncio.sleep(BEFORE)
        standins.kill(port)
        killed = time.monotonic()
        await work
        return running, killed

    try:
        running, killed = asyncio.run(scenario())
    finally:
        standins.start(port)
    time.sleep(MEMORY + 1)
    for name, load in running.items():
        late = load.failed(since=killed)
        flying = load.failed(since=killed - IN_FLIGHT, until=killed)
        print(f"{name}: {len(load.calls)} calls, {len(flying)} in flight lost, {len(late)} after")
        assert not load.failed(until=killed - IN_FLIGHT), (name, told(load.failed()))
        assert not late, (name, told(late))


def test_all_oaps_gone_and_back_is_whole_within_a_second(
    targets: dict[str, str], standins: StandIns
) -> None:
    """Calls and held streams that begin a second after the return all end well."""

    async def scenario() -> tuple[dict[str, Load], float, float, dict[str, Counter[str]]]:
        running = loads(targets)
        work = asyncio.create_task(during(running, BEFORE + OUTAGE + AFTER + 4))
        await asyncio.sleep(BEFORE)
        for port in STANDIN_PORTS:
            standins.kill(port)
        killed = time.monotonic()
        await asyncio.sleep(OUTAGE)
        for port in STANDIN_PORTS:
            await asyncio.to_thread(standins.start, port)
        back = time.monotonic()
        await asyncio.sleep(1.0)
        held = await asyncio.gather(*(hold(targets[name], HELD, AFTER) for name in running))
        await work
        return running, killed, back, dict(zip(running, held, strict=True))

    running, killed, back, held = asyncio.run(scenario())
    for name, load in running.items():
        outage = load.failed(since=killed, until=back)
        whole = max((call.began for call in load.failed(since=back)), default=back) - back
        print(
            f"{name}: {len(outage)} failed in the outage, whole after {whole:.2f} s, {held[name]}"
        )
        assert outage, f"{name}: nothing failed while every OAP was gone: the fault was not there"
        assert {call.code for call in outage} == {"UNAVAILABLE"}, (name, told(outage))
        assert not load.failed(since=back + 1.0), (name, told(load.failed(since=back + 1.0)))
        assert held[name] == {"OK": HELD}, (name, held[name])


def test_a_vanished_machine_costs_no_more_than_the_pooled_connections(
    targets: dict[str, str], vanishing: Vanishing
) -> None:
    """A call lost is a call sent on a connection from before: a new one goes to the other OAP."""

    async def scenario() -> tuple[dict[str, Load], float, int]:
        running = loads(targets)
        work = asyncio.create_task(during(running, BEFORE + MEMORY + AFTER))
        await asyncio.sleep(BEFORE)
        pooled = vanishing.connections()
        vanished = time.monotonic()
        with vanishing:
            await work
        return running, vanished, pooled

    running, vanished, pooled = asyncio.run(scenario())
    time.sleep(MEMORY + 1)
    lost = 0
    for name, load in running.items():
        failed = load.failed(since=vanished - IN_FLIGHT)
        later = [call for call in load.calls if call.began >= vanished]
        late = sum(call.code == "OK" and call.ended - call.began > LATE for call in later)
        print(f"{name}: {len(failed)} of {len(later)} failed, {late} took a connect timeout longer")
        assert not load.failed(until=vanished - IN_FLIGHT), (name, told(load.failed()))
        lost += len(failed)
    assert 0 < lost <= pooled, f"{lost} calls lost with {pooled} connections pooled"


def test_a_stream_may_carry_many_megabytes(targets: dict[str, str]) -> None:
    """Nginx's default of 1 MB counts all messages of a stream."""
    # Forty messages of 64 kB; a stand-in takes them, which a real OAP would not understand.
    assert asyncio.run(hold(targets["round-robin"], 2, 0.0, messages=40, size=65536)) == {"OK": 2}


def test_two_thousand_held_streams(targets: dict[str, str]) -> None:
    """They work out of the box, through one proxy to one real OAP."""
    assert asyncio.run(hold(targets["real"], 2000, 5.0)) == {"OK": 2000}


def test_streams_may_be_silent_for_longer_than_nginx_allows_by_default(
    silent_streams: Future[Counter[str]],
) -> None:
    """Opened when the tests began, silent for over 60 s, in which nginx would end them."""
    assert silent_streams.result(timeout=2 * SILENT_SECONDS) == {"OK": SILENT_STREAMS}
