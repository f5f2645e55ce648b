"""What python_worker.py reads and writes in a namespace: facts, and its presence."""
import asyncio
import json
import time
from contextlib import suppress

from nats.errors import Error
from nats.js.errors import NotFoundError
from python_tasks import TASKS


def now():
    return time.time_ns() // 1_000_000


def unfold(runs):
    """Numbers of nodes: [3, [10, 4, 2]] is 3, 10, 12, 14, 16."""
    triples = [run if isinstance(run, list) else [run, 1, 0] for run in runs]
    return [first + i * step for first, count, step in triples for i in range(count)]


class Records:
    def __init__(self, js, ns, queue, max_payload):
        self.js, self.ns, self.most_bytes = js, ns, min(max_payload, 1 << 20) - 4096
        self.worker, tasks = f"py-{time.time_ns()}", [{"name": name} for name in TASKS]
        self.presence = {"v": 1, "id": self.worker, "queues": [queue], "tasks": tasks, "concurrency": 1,
                         "running": 0, "succeeded": 0, "failed": 0, "startedAt": now()}

    async def tell_presence(self):
        body = json.dumps(self.presence | {"at": now(), "instance": self.worker}).encode()
        with suppress(Error):  # Nothing depends on it.
            await self.js.publish(f"$KV.{self.ns}_STATE.worker.{self.worker}", body)

    async def find(self, key):
        """A fact, from the leader: others may not know of it yet."""
        with suppress(NotFoundError):
            return await self.js.get_last_msg(f"KV_{self.ns}", f"$KV.{self.ns}.{key}")

    async def record(self, key, body, note):
        """Until it is there, whoever wrote it. That there is one already counts when it can be read."""
        headers = {"Nats-Expected-Last-Subject-Sequence": "0", "Dyrygent-Outcome": note}
        while True:
            with suppress(Error):
                return await self.js.publish(f"$KV.{self.ns}.{key}", body, headers=headers)
            with suppress(Error):
                return await self.js.get_last_msg(f"KV_{self.ns}", f"$KV.{self.ns}.{key}")
            await asyncio.sleep(1)

    async def inputs(self, workflow, message):
        """A value for each hole of the signature, in their order."""
        results, attempts, values = message.get("results", {}), message.get("attempts", {}), []
        for hole in message["signature"].get("inputs", []):
            nodes = [str(node) for node in unfold(hole.get("nodes", [hole.get("node")]))]
            for node in set(nodes) - results.keys():
                fact = await self.find(f"{workflow}.r.{node}.{attempts.get(node, 1)}")
                if fact is None or len(fact.headers["Dyrygent-Outcome"].split()) > 6:
                    raise LookupError(f"the result of node {node} cannot be read here")
                results[node] = json.loads(fact.data)
            values.append([results[node] for node in nodes] if "nodes" in hole else results[nodes[0]])
        return values
