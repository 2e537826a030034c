'use strict';
// A program under the real Node.js agent; prints the segment ids it made as one line of JSON.
// traced_program.js TARGET SERVICE INSTANCE SEGMENTS SECONDS

const { setTimeout: sleep } = require('node:timers/promises');
const { default: agent, ContextManager } = require('skywalking-backend-js');

// Longer than the agent lets a report take (10 s); one that cannot connect keeps its segments for good.
const FLUSH_SECONDS = 12;
const POLL_MILLISECONDS = 50;

async function main(target, service, instance, segments, seconds) {
  agent.start({
    collectorAddress: target,
    serviceName: service,
    serviceInstance: instance,
    maxBufferSize: Math.max(1000, segments),
  });
  const created = [];
  const begin = Date.now();
  for (let number = 0; number < segments; number++) {
    const span = ContextManager.current.newEntrySpan(`/orders/${number % 10}`);
    ContextManager.withSpan(span, () => created.push(span.context.segment.segmentId.toString()));
    ContextManager.clearAll();
    await sleep(Math.max(0, begin + ((number + 1) * seconds * 1000) / segments - Date.now()));
  }
  console.log(JSON.stringify(created));
  const end = Date.now() + FLUSH_SECONDS * 1000;
  for (let left = agent.flush(); left !== null; left = agent.flush()) {
    if (Date.now() > end) {
      console.error('the agent could not send all that was made');
      process.exit(0);
    }
    await left;
    await sleep(POLL_MILLISECONDS);
  }
  // What is in flight keeps the program alive until it has arrived.
}

const [target, service, instance, segments, seconds] = process.argv.slice(2);
main(target, service, instance, Number(segments), Number(seconds));
