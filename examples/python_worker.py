"""A worker in Python, made from docs/protocol.md and NATS' own client: pip install nats-py

It serves the tasks of one queue that have the default priority, one at a time. Left out, and given back for
others: sealed values, expiry, inputs that are a failure, a summary, a big result or that of a child run. Left
out, too: other lanes, counting crashes, big results, map and run nodes, a gentle stop. Python 3.11 or newer.

    python3 examples/python_worker.py <server> <namespace> <queue>
"""
import asyncio
import json
import sys

import nats
from nats.js.api import ConsumerConfig
from python_records import Records, now
from python_tasks import outcome_of

SERVER, NS, QUEUE = sys.argv[1:]


async def attempt(records, msg):
    *_, workflow, node, number = msg.subject.split(".")
    key, message = f"{workflow}.r.{node}.{number}", json.loads(msg.data)
    if message["v"] > 1:
        return await msg.nak(delay=5)
    if b'{"~sealed":' in msg.data or {"expiresAt", "failures", "summary"} & message.keys():
        raise NotImplementedError("it has what is left out here")
    if msg.metadata.num_delivered > 1 and (await records.find(key) or await records.find(f"{key}.run")):
        return await msg.ack()
    inputs, started = await records.inputs(workflow, message), now()
    what, body = await outcome_of(message["signature"], inputs, records.most_bytes)
    queued = int(msg.metadata.timestamp.timestamp() * 1e9)
    await records.record(key, body, f"1 {what} {started} {now()} {queued} {records.worker}")
    await msg.ack()  # Not before: until it is recorded, nobody else knows how it ended.


async def main():
    nc = await nats.connect(SERVER, max_reconnect_attempts=-1)
    js, config = nc.jetstream(), ConsumerConfig(ack_wait=30, max_deliver=-1, max_ack_pending=-1)
    lane = await js.pull_subscribe(f"{NS}.task.{QUEUE}.p5.>", f"p5-{QUEUE}", f"{NS}_TASKS", config)
    lease = (await lane.consumer_info()).config.ack_wait  # Another one's, if it was there already.
    records = Records(js, NS, QUEUE, nc.max_payload)
    await records.tell_presence()
    print("ready", flush=True)
    while True:
        await records.tell_presence()
        try:
            [msg] = await lane.fetch(heartbeat=1)
        except nats.errors.Error:  # Nothing came, or nobody answers. Processors look after the lane.
            await asyncio.sleep(0.1)
            continue
        running = asyncio.create_task(attempt(records, msg))
        while not (await asyncio.wait([running], timeout=lease / 4))[0]:
            await asyncio.gather(msg.in_progress(), records.tell_presence())
        if error := running.exception():
            print(f"{msg.subject} is given back: {error!r}", file=sys.stderr)
            await msg.nak(delay=1)


asyncio.run(main())
