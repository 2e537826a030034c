"""A program under the real Python agent; prints the segment ids it made as one line of JSON.

``python -m tests.hosts.agents.traced_program TARGET SERVICE INSTANCE SEGMENTS SECONDS``
"""

import json
import sys
import time

from skywalking import Component, Layer, agent, config
from skywalking.trace.context import get_context

# The agent ends a stream one second after it began; it is still in flight when the queue is empty.
STREAM_SECONDS = 3.0


def main(target: str, service: str, instance: str, segments: int, seconds: float) -> None:
    """Make the segments evenly over the seconds, and leave when all of them were sent."""
    config.init(
        agent_collector_backend_services=target,
        agent_name=service,
        agent_instance_name=instance,
        agent_protocol="grpc",
        agent_logging_level="ERROR",
        agent_log_reporter_active=False,
        agent_meter_reporter_active=False,
        agent_profile_active=False,
    )
    agent.start()
    created = []
    begin = time.monotonic()
    for number in range(segments):
        with get_context().new_entry_span(op=f"/orders/{number % 10}") as span:
            span.layer = Layer.Http
            span.component = Component.General
            created.append(str(get_context().segment.segment_id))
        time.sleep(max(0.0, begin + (number + 1) * seconds / segments - time.monotonic()))
    time.sleep(STREAM_SECONDS)
    print(json.dumps(created), flush=True)  # the agent stops itself when the program ends


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
