"""The tasks of python_worker.py, and what comes of a signature. Nothing here knows of NATS."""
import asyncio
import json
import statistics

heard = set()


def stats(numbers):
    return {"mean": statistics.fmean(numbers), "median": statistics.median(numbers)}


def shout(text):
    if text not in heard:
        heard.add(text)
        raise ConnectionError(f"nobody heard {text!r}")
    return text.upper()


TASKS = {"py.stats": stats, "py.shout": shout}


def call(signature, inputs):
    for hole, value in zip(signature.get("inputs", []), inputs):
        place, path = signature, ["args", *hole["at"]]
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
    task, args = TASKS[signature["task"]], signature["args"]
    match signature.get("calls"):
        case "map":
            return [task(item) for item in args[0]]
        case "starmap":
            return [task(*item) for item in args[0]]
    return task(*args)


def failed(name, message, **more):
    return "failed", json.dumps({"name": name, "message": message[:4000], **more}).encode()


async def outcome_of(signature, inputs, most_bytes):
    """How it ended, and the body of its record. No further attempt follows a fatal failure."""
    if signature["task"] not in TASKS:
        return failed("UnknownTaskError", f"no task {signature['task']} here", fatal=True)
    try:
        timeout = signature["timeoutMs"] / 1000 if "timeoutMs" in signature else None
        result = await asyncio.wait_for(asyncio.to_thread(call, signature, inputs), timeout)
    except Exception as error:
        return failed(type(error).__name__, str(error) or repr(error))
    try:
        body = json.dumps(None if signature.get("ignoreResult") else result, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        return failed(type(error).__name__, f"the result is no JSON: {error}", fatal=True)
    if len(body) > most_bytes:
        return failed("PayloadTooLargeError", f"the result has {len(body)} bytes", fatal=True)
    return "succeeded", body
