"""A worker in Python, made from docs/protocol.md alone: the standard library and a socket, no NATS client.

It serves the tasks of one queue that have the default priority, one at a time. Left out: other lanes, time limits,
expiry, counting crashes, and big results as inputs. Python 3.11 or newer.

    python3 examples/python_worker.py <host> <port> <namespace> <queue>
"""
import asyncio, base64, json, re, secrets, statistics, sys, time

HOST, PORT, NS, QUEUE = sys.argv[1:5]
ID, INBOX = f"py-{secrets.token_hex(4)}", f"_INBOX.{secrets.token_hex(11)}"
heard = set()


def stats(numbers):
    return {"mean": statistics.fmean(numbers), "median": statistics.median(numbers)}


def shout(text):
    if text not in heard:
        heard.add(text)
        raise ConnectionError(f"nobody heard {text!r}")
    return text.upper()


TASKS = {"py.stats": stats, "py.shout": shout}


def now():
    return int(time.time() * 1000)


def unfold(runs):
    """The page's "Runs": [3, [10, 4, 2]] is 3, 10, 12, 14, 16."""
    return [n for run in runs for n in ([run] if isinstance(run, int) else range(run[0], run[0] + run[1] * run[2], run[2]))]


class Nats:
    """As much of the client protocol of NATS as a worker needs: requests on subscription 1, pulls on 2."""

    async def connect(self, on_pulled):
        self.reader, self.writer = await asyncio.open_connection(HOST, int(PORT))
        self.on_pulled, self.waiting = on_pulled, {}
        await self.reader.readline()  # INFO
        self.writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true,"protocol":1}\r\n')
        self.writer.write(f"SUB {INBOX}.r.* 1\r\nSUB {INBOX}.pull 2\r\n".encode())

    def publish(self, subject, body="", headers={}, reply=""):
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head, data = f"NATS/1.0\r\n{head}\r\n".encode(), body.encode()
        self.writer.write(f"HPUB {subject} {reply} {len(head)} {len(head) + len(data)}\r\n".encode() + head + data + b"\r\n")

    async def request(self, subject, body="", headers={}):
        token, answer = secrets.token_hex(8), asyncio.get_running_loop().create_future()
        self.waiting[token] = answer
        self.publish(subject, body, headers, f"{INBOX}.r.{token}")
        return json.loads(await asyncio.wait_for(answer, 5) or b"{}")

    async def read(self):
        while line := (await self.reader.readline()).decode().split():
            if line[0] == "PING":
                self.writer.write(b"PONG\r\n")
            elif line[0] in ("MSG", "HMSG"):  # subject, sid, perhaps a reply subject, perhaps the headers' size, the whole size
                sizes = 2 if line[0] == "HMSG" else 1
                payload = (await self.reader.readexactly(int(line[-1]) + 2))[:-2]
                start = int(line[-2]) if sizes == 2 else 0
                status = re.match(rb"NATS/1\.0 (\d+)", payload[:start])
                if line[2] == "2":
                    self.on_pulled(line[1], line[3] if len(line) == 4 + sizes else None, status and int(status[1]), payload[start:])
                elif (answer := self.waiting.pop(line[1].split(".")[-1], None)) and not answer.done():
                    answer.set_result(payload[start:])
        sys.exit("the server is gone")


async def main():
    nats, pulled = Nats(), asyncio.Queue()
    await nats.connect(lambda *message: pulled.put_nowait(message))
    reading = asyncio.create_task(nats.read())

    async def found(key):  # A fact's message, from the leader.
        body = json.dumps({"last_by_subj": f"$KV.{NS}.{key}"})
        return (await nats.request(f"$JS.API.STREAM.MSG.GET.KV_{NS}", body)).get("message")

    async def fact(key):
        return json.loads(base64.b64decode((await found(key))["data"]))

    async def record(key, body, note):  # Until it is there, whoever wrote it.
        headers = {"Nats-Expected-Last-Subject-Sequence": 0, "Dyrygent-Outcome": note}
        while True:
            try:
                answer = await nats.request(f"$KV.{NS}.{key}", body, headers)
                if "seq" in answer or await found(key):
                    return
                await asyncio.sleep(1)
            except TimeoutError:
                pass  # Unknown: once more.

    async def run(workflow, message):
        signature = message["signature"]
        if signature["task"] not in TASKS:
            return "failed", {"name": "UnknownTaskError", "message": f"no task {signature['task']} here", "fatal": True}
        for hole in signature.get("inputs", []):
            values = []
            for node in map(str, unfold(hole.get("nodes", [hole.get("node")]))):
                attempt, inline = message.get("attempts", {}).get(node, 1), message.get("results", {})
                values.append(inline[node] if node in inline else await fact(f"{workflow}.r.{node}.{attempt}"))
            *path, last = hole["at"]
            place = signature["args"]
            for step in path:
                place = place[step]
            place[last] = values if "nodes" in hole else values[0]
        try:
            return "succeeded", await asyncio.to_thread(TASKS[signature["task"]], *signature["args"])
        except Exception as error:
            return "failed", {"name": type(error).__name__, "message": str(error)}

    async def take(subject, reply, body):
        *_, workflow, node, attempt = subject.split(".")
        parts, key, started = reply.split("."), f"{workflow}.r.{node}.{attempt}", now()
        deliveries, _, _, queued = parts[6 if len(parts) >= 11 else 4:][:4]
        message = json.loads(body)
        if message["v"] > 1 or "~sealed" in body.decode():
            return nats.publish(reply, '-NAK {"delay":5000000000}')
        if int(deliveries) > 1 and (await found(key) or await found(f"{key}.run")):
            return nats.publish(reply, "+ACK")
        running = asyncio.create_task(run(workflow, message))
        while not (await asyncio.wait([running], timeout=10))[0]:
            nats.publish(reply, "+WPI")
        what, value = running.result()
        await record(key, json.dumps(value), f"1 {what} {started} {now()} {queued} {ID}")
        nats.publish(reply, "+ACK")

    lane, tasks, since = f"{NS}.task.{QUEUE}.p5.>", f"{NS}_TASKS", now()
    config = {"durable_name": f"p5-{QUEUE}", "ack_policy": "explicit", "deliver_policy": "all", "replay_policy": "instant",
              "filter_subject": lane, "ack_wait": 30_000_000_000, "max_deliver": -1, "max_ack_pending": -1}
    create = {"stream_name": tasks, "config": config, "action": "create"}
    made = await nats.request(f"$JS.API.CONSUMER.CREATE.{tasks}.p5-{QUEUE}.{lane}", json.dumps(create))
    assert "error" not in made, made
    while not reading.done():
        presence = {"v": 1, "id": ID, "queues": [QUEUE], "tasks": [{"name": name} for name in TASKS], "concurrency": 1,
                    "running": 0, "succeeded": 0, "failed": 0, "startedAt": since, "at": now(), "instance": ID}
        await nats.request(f"$KV.{NS}_STATE.worker.{ID}", json.dumps(presence))
        print("ready", flush=True)
        pull = '{"batch":1,"expires":5000000000,"idle_heartbeat":1000000000}'
        nats.publish(f"$JS.API.CONSUMER.MSG.NEXT.{tasks}.p5-{QUEUE}", pull, reply=f"{INBOX}.pull")
        subject, reply, status, body = await pulled.get()
        while status == 100:
            subject, reply, status, body = await pulled.get()
        if status is None:
            await take(subject, reply, body)


asyncio.run(main())
