"""What each balancing method promises, held by counting.

A bound here follows from what a method does, not from how fast the machine is. Twenty clients call,
each one call after another: at most twenty calls are on their way at a time.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.balancing.backends import PORTS
from tests.balancing.load import CALLS, KEY, METERS, METRICS, Call, by_client, by_key, calls
from tests.balancing.site import (
    EVEN,
    NEIGHBOURS,
    NETWORKS,
    POLL_SECONDS,
    SECONDS,
    SLOW,
    WEIGHTS,
    Fall,
    Setup,
    Site,
)

WITH_WEIGHTS = "weights " + ":".join(map(str, WEIGHTS))
WITH_SLOW = f"{SLOW} slow"
HASH = {"hash": f"metadata:{KEY}"}
LIMIT = 4
TAKEN = LIMIT * len(PORTS)


def whole(fall: Fall) -> None:
    """No call may have failed."""
    assert fall.codes == {"OK": CALLS}


def dealt(fall: Fall) -> None:
    """Calls are dealt, not clients, and no OAP is left out."""
    whole(fall)
    assert all(fall.counted), fall.counted
    assert all(len(oaps) > 1 for oaps in by_client(fall.calls).values())


def most_at_once(weights: Sequence[int], others: Callable[[Iterator[int]], int]) -> tuple[int, ...]:
    """Return how many calls at a time each OAP may have, by a method that compares connections.

    An OAP with n calls takes one more only where another has as many for its weight: ``others``
    says whether that is every other OAP (sum) or the one it was compared with (min).
    """
    bounds = []
    for mine in weights:
        rest = list(weights)
        rest.remove(mine)
        bound = 0
        while bound + 1 + others(math.ceil(one * bound / mine) for one in rest) <= len(NETWORKS):
            bound += 1
        bounds.append(bound)
    return tuple(bounds)


def within(most: tuple[int, ...], bounds: tuple[int, ...]) -> None:
    """No OAP had more calls at a time than it may."""
    held = all(one <= bound for one, bound in zip(most, bounds, strict=True))
    assert held, f"at most {bounds} at a time, counted {most}"


def slow_has_fewer(fall: Fall) -> None:
    """The slow OAP, the last one, has less than three quarters of an even share.

    It has a fifth as a rule. On a machine so busy that all OAPs are slow it comes nearer to the
    others; what a method holds even then is the number of calls at a time.
    """
    whole(fall)
    assert fall.counted[-1] < CALLS / len(PORTS) * 3 / 4, fall.counted


def one_each(found: dict[str, set[str]]) -> dict[str, str]:
    """Return the one OAP of each client or key; all OAPs must be somebody's."""
    assert {len(oaps) for oaps in found.values()} == {1}, found
    homes = {name: next(iter(oaps)) for name, oaps in found.items()}
    assert set(homes.values()) == set(PORTS), homes
    return homes


def test_round_robin_deals_in_turn(site: Site) -> None:
    """Exactly, with weights too, however slow an OAP is: the workers share one zone."""
    site.have_method("round_robin")
    for case, slow in (("", False), (WITH_SLOW, True)):
        fall = site.measure("first", "round_robin", case, slow=slow)
        whole(fall)
        assert sorted(fall.counted) == [333, 333, 334]
    fall = site.measure("second", "round_robin", WITH_WEIGHTS)
    whole(fall)
    assert fall.counted == (500, 300, 200)


def test_meters_stay_on_one_oap(site: Site) -> None:
    """Whatever the method: the meters of one client go to one OAP, those of all to all."""
    site.have_method("round_robin")
    fall = site.measure("first", "meters, any method", methods=(METERS, METRICS))
    whole(fall)
    homes = one_each(by_client(fall.calls))
    # Weights count for meters too, so that only a proxy like the first has the same homes.
    again = site.measure("first", "meters, any method", WITH_SLOW, slow=True, methods=(METRICS,))
    whole(again)
    assert one_each(by_client(again.calls)) == homes


def test_least_conn_evens_out_what_is_on_its_way(site: Site) -> None:
    """No OAP has more than its share of the calls at a time, so that a slow one has fewer calls."""
    site.have_method("least_conn")
    bounds = most_at_once(EVEN, sum)
    fall = site.measure("first", "least_conn")
    dealt(fall)
    within(fall.most, bounds)
    slowed = site.measure("first", "least_conn", WITH_SLOW, slow=True)
    within(slowed.most, bounds)
    slow_has_fewer(slowed)
    weighted = site.measure("second", "least_conn", WITH_WEIGHTS)
    whole(weighted)
    within(weighted.most, most_at_once(WEIGHTS, sum))


def test_random_two_spares_a_slow_one(site: Site) -> None:
    """Of two OAPs the one with fewer calls: never the one that has most of all."""
    site.have_method("random_two_least_conn")
    bounds = most_at_once(EVEN, min)
    fall = site.measure("first", "random_two_least_conn")
    dealt(fall)
    within(fall.most, bounds)
    slowed = site.measure("first", "random_two_least_conn", WITH_SLOW, slow=True)
    within(slowed.most, bounds)
    slow_has_fewer(slowed)
    weighted = site.measure("second", "random_two_least_conn", WITH_WEIGHTS)
    whole(weighted)
    within(weighted.most, most_at_once(WEIGHTS, min))


def test_ip_hash_goes_by_the_network_of_the_client(site: Site) -> None:
    """Clients of one /24 share an OAP, those of others are spread, and a slow OAP keeps its own."""
    site.have_method("ip_hash")
    fall = site.measure("first", "ip_hash", "20 networks")
    whole(fall)
    homes = one_each(by_client(fall.calls))
    slowed = site.measure("first", "ip_hash", f"20 networks, {WITH_SLOW}", slow=True)
    whole(slowed)
    assert one_each(by_client(slowed.calls)) == homes
    together = site.measure("first", "ip_hash", "20 clients of one /24", clients=NEIGHBOURS)
    whole(together)
    assert sorted(together.counted) == [0, 0, CALLS]
    weighted = site.measure("second", "ip_hash", f"20 networks, {WITH_WEIGHTS}")
    whole(weighted)
    one_each(by_client(weighted.calls))


def test_hash_goes_by_the_key(site: Site) -> None:
    """Calls of one key reach one OAP from any client; only the keys of a dead OAP move."""
    site.have_method(HASH)
    fall = site.measure("first", "hash", "101 keys")
    whole(fall)
    homes = one_each(by_key(fall.calls))
    slowed = site.measure("first", "hash", f"101 keys, {WITH_SLOW}", slow=True)
    whole(slowed)
    assert one_each(by_key(slowed.calls)) == homes
    weighted = site.measure("second", "hash", f"101 keys, {WITH_WEIGHTS}")
    whole(weighted)
    one_each(by_key(weighted.calls))
    site.kill(SLOW)
    try:
        bereft = site.measure("first", "hash", f"101 keys, {SLOW} dead")
    finally:
        site.backends.start(SLOW)
    whole(bereft)
    for key, oaps in by_key(bereft.calls).items():
        assert len(oaps) == 1
        assert homes[key] in (oaps | {SLOW}), f"{key} was moved from a living OAP"


def with_backup_and_limit(site: Site) -> None:
    """Have a backup behind the first proxy, and limits behind the second."""
    limit = {"oap_max_conns": LIMIT}
    site.have(
        {
            "first": Setup("round_robin", ({}, {}, {"oap_backup": True})),
            "second": Setup("round_robin", (limit, limit, limit)),
        }
    )


def test_a_backup_waits_until_all_others_are_down(site: Site) -> None:
    """It has no call before, and every call then."""
    with_backup_and_limit(site)
    fall = site.measure("first", "round_robin", "oap3 backup")
    whole(fall)
    assert fall.counted == (500, 500, 0)
    site.kill("oap1", "oap2")
    try:
        alone = site.measure("first", "round_robin", "oap3 backup, others dead")
    finally:
        site.backends.start("oap1")
        site.backends.start("oap2")
    whole(alone)
    assert alone.counted == (0, 0, CALLS)


@contextmanager
def holding(site: Site) -> Iterator[None]:
    """Have every call held by the OAP that has it."""
    site.backends.begin(held=True)
    try:
        yield
    finally:
        site.backends.release()


def test_max_conns_is_never_exceeded(site: Site) -> None:
    """Twenty calls at once: as many as there is room for are taken, the others refused at once."""
    with_backup_and_limit(site)

    made: list[Call] = []

    def at_work() -> list[int]:
        return [counts.now for counts in site.backends.counts().values()]

    async def scenario() -> list[int]:
        with holding(site):
            twenty = asyncio.create_task(
                calls(site.target("second"), NETWORKS, made, number=len(NETWORKS))
            )
            end = time.monotonic() + SECONDS
            while sum(now := await asyncio.to_thread(at_work)) + len(made) < len(NETWORKS):
                assert time.monotonic() < end, f"at work: {now}, ended: {made}"
                await asyncio.sleep(POLL_SECONDS)
        await twenty
        return now

    held = asyncio.run(scenario())
    fall = site.fall(made)
    assert held == [LIMIT] * len(PORTS)
    assert fall.codes == {"OK": TAKEN, "UNAVAILABLE": len(NETWORKS) - TAKEN}


def test_max_conns_moves_calls_on_while_there_is_room(site: Site) -> None:
    """Where every OAP is full a call is refused, for nginx keeps no queue; never before."""
    with_backup_and_limit(site)
    case = f"max_conns {LIMIT} each, {{}} clients, {WITH_SLOW}"
    fits = site.measure(
        "second", "round_robin", case.format(TAKEN), slow=True, clients=NETWORKS[:TAKEN]
    )
    whole(fits)
    within(fits.most, (LIMIT,) * len(PORTS))
    crowded = site.measure("second", "round_robin", case.format(len(NETWORKS)), slow=True)
    within(crowded.most, (LIMIT,) * len(PORTS))
    assert set(crowded.codes) <= {"OK", "UNAVAILABLE"}, crowded.codes
