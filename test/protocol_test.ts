/**
 * docs/protocol.md is true: its configurations are those on the server, its examples are the messages that travel, and a
 * worker and a submitter written from it alone, with nothing but core NATS, get along with the library. (The permissions
 * it names: `test/nats/permissions_test.ts`.)
 */
import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import process from "node:process";
import {
  connect,
  createInbox,
  headers,
  type Msg,
  type NatsConnection,
} from "@nats-io/transport-node";
import {
  chain,
  Dyrygent,
  group,
  type Node,
  type Run,
  type RunSummary,
  starmap,
  task,
  Workflow,
} from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type NatsServer, startNatsServer } from "../scripts/nats_server.ts";
import { hasSubjectConditions } from "../src/core/server_health.ts";

/** Like the tests in `test/nats`: `NATS_SERVER_VERSION=2.10` chooses the server. */
const version = process.env["NATS_SERVER_VERSION"];
const page = readFileSync("docs/protocol.md", "utf8");

/** The page's fenced blocks that begin with "```<start>". */
function blocks(start: string): { title: string; text: string }[] {
  const fence = new RegExp("^```" + start + "(.*)\\n([^]*?)\\n```$", "gm");
  return [...page.matchAll(fence)].map(([, title, text]) => ({
    title: title!.trim(),
    text: text!,
  }));
}

const add = task("add", (a: number, b: number) => a + b);
const long = task("long", (length: number) => "x".repeat(length));
const double = task("double", { timeout: "30s" }, (n: number) => 2 * n);
const tell = task("tell", ({ state }: RunSummary) => state);
const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));

/** A connection that is closed at the end, whatever happens. */
async function withConnection(
  server: NatsServer,
  use: (nc: NatsConnection) => Promise<void>,
): Promise<void> {
  const nc = await connect({ servers: server.url });
  try {
    await use(nc);
  } finally {
    await nc.close();
  }
}

// ---- A worker from docs/protocol.md, section "A worker, step by step". It must not use the library. ----

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type HandWritten = (...args: never[]) => unknown;

class Failure extends Error {
  readonly fatal: boolean;
  constructor(name: string, message: string, fatal: boolean) {
    super(message);
    this.name = name;
    this.fatal = fatal;
  }
}

class HandWrittenWorker {
  readonly #nc: NatsConnection;
  readonly #ns: string;
  readonly #queue: string;
  readonly #tasks: Record<string, HandWritten>;
  readonly #lanes = new Set<string>();
  /** What it was given, for the test to look at. */
  readonly bodies: Record<string, Json>[] = [];
  /** Facts that it had to read. */
  readonly read: string[] = [];

  constructor(nc: NatsConnection, ns: string, queue: string, tasks: Record<string, HandWritten>) {
    this.#nc = nc;
    this.#ns = ns;
    this.#queue = queue;
    this.#tasks = tasks;
  }

  async start(): Promise<void> {
    this.#nc.subscribe(`${this.#ns}.event.lane.${this.#queue}`, {
      callback: (_, msg) => void this.#serve(msg.string()),
    });
    await this.#serve("p5");
    const answer = await this.#request(`$JS.API.CONSUMER.LIST.${this.#ns}_TASKS`, { offset: 0 });
    for (const { name } of answer.consumers as { name: string }[]) {
      const [lane, ...queue] = name.split("-");
      if (queue.join("-") === this.#queue) await this.#serve(lane!);
    }
  }

  async #request(subject: string, body: unknown): Promise<Record<string, Json>> {
    return (await this.#nc.request(subject, JSON.stringify(body))).json();
  }

  async #serve(lane: string): Promise<void> {
    if (this.#lanes.has(lane)) return;
    this.#lanes.add(lane);
    const consumer = `${lane}-${this.#queue}`;
    const filter = `${this.#ns}.task.${this.#queue}.${lane}.>`;
    const created = await this.#request(
      `$JS.API.CONSUMER.CREATE.${this.#ns}_TASKS.${consumer}.${filter}`,
      {
        stream_name: `${this.#ns}_TASKS`,
        action: "create",
        config: {
          durable_name: consumer,
          ack_policy: "explicit",
          deliver_policy: "all",
          replay_policy: "instant",
          filter_subject: filter,
          ack_wait: 30_000_000_000,
          max_deliver: -1,
          max_ack_pending: -1,
        },
      },
    );
    assert.is(created.error, undefined);
    const inbox = createInbox();
    const pull = () =>
      this.#nc.publish(
        `$JS.API.CONSUMER.MSG.NEXT.${this.#ns}_TASKS.${consumer}`,
        `{"batch":1,"expires":5000000000,"idle_heartbeat":1000000000}`,
        { reply: inbox },
      );
    const answered = async (msg: Msg) => {
      const status = msg.headers?.code;
      if (status === 100) return;
      if (status !== 404 && status !== 408) await this.#take(msg);
      pull();
    };
    this.#nc.subscribe(inbox, { callback: (_, msg) => void answered(msg) });
    pull();
  }

  async #take(msg: Msg): Promise<void> {
    const [, , , , workflow, node, attempt] = msg.subject.split(".");
    const reply = msg.reply!.split(".");
    const [deliveries, , , queuedNs] = reply.slice(reply.length >= 11 ? 6 : 4);
    const body = msg.json<Record<string, Json>>();
    this.bodies.push(body);
    if ((body.v as number) > 1) return msg.respond(`-NAK {"delay":5000000000}`) as never;
    const key = `${workflow}.r.${node}.${attempt}`;
    if (Number(deliveries) > 1 && await this.#outcome(key) !== undefined) {
      return msg.respond("+ACK") as never;
    }
    const started = Date.now();
    let what = "succeeded";
    let data: string;
    try {
      data = JSON.stringify(await this.#run(workflow!, body) ?? null);
    } catch (error) {
      const { name, message, fatal } = error as Failure;
      what = "failed";
      data = JSON.stringify({ name, message, ...(fatal ? { fatal } : {}) });
    }
    const note = `1 ${what} ${started} ${Date.now()} ${queuedNs} by-hand`;
    await this.#record(key, data, note);
    msg.respond("+ACK");
  }

  async #run(workflow: string, body: Record<string, Json>): Promise<unknown> {
    const signature = body.signature as Record<string, Json>;
    const run = this.#tasks[signature.task as string];
    if (run === undefined) throw new Failure("UnknownTaskError", "never heard of it", true);
    const holder: { args: Json } = { args: signature.args! };
    for (const input of (signature.inputs ?? []) as { at: (string | number)[]; node?: number }[]) {
      const resultOf = (node: number) => this.#resultOf(workflow, body, node);
      const value = input.node !== undefined
        ? await resultOf(input.node)
        : await Promise.all(unfold((input as unknown as { nodes: Json[] }).nodes).map(resultOf));
      const path = ["args", ...input.at];
      const last = path.pop()!;
      // deno-lint-ignore no-explicit-any
      path.reduce((at: any, step) => at[step], holder)[last] = value;
    }
    const args = holder.args as Json[];
    const call = run as (...args: unknown[]) => unknown;
    if (signature.calls === undefined) return call(...args);
    const results: unknown[] = [];
    for (const item of args[0] as Json[]) {
      results.push(await (signature.calls === "map" ? call(item) : call(...item as Json[])));
    }
    return results;
  }

  async #resultOf(workflow: string, body: Record<string, Json>, node: number): Promise<Json> {
    const inline = (body.results ?? {}) as Record<string, Json>;
    if (Object.hasOwn(inline, node)) return inline[node]!;
    const attempt = ((body.attempts ?? {}) as Record<string, number>)[node] ?? 1;
    const key = `${workflow}.r.${node}.${attempt}`;
    this.read.push(key);
    return JSON.parse(await this.#wholeOf((await this.#outcome(key))!));
  }

  /** The result itself, or the object that stands for it. */
  async #wholeOf({ note, text }: { note: string[]; text: string }): Promise<string> {
    const [kind, name] = note[6]?.split(":") ?? [];
    if (kind !== "blob") return text;
    const { size } = JSON.parse(text) as { size: number };
    let whole = "";
    for (let seq = 1; whole.length < size;) {
      const { message } = await this.#request(`$JS.API.STREAM.MSG.GET.OBJ_${this.#ns}_RESULTS`, {
        next_by_subj: `$O.${this.#ns}_RESULTS.C.${name}`,
        seq,
      }) as { message: { data: string; seq: number } };
      whole += atob(message.data);
      seq = message.seq + 1;
    }
    return whole;
  }

  /** A leader read. */
  async #outcome(key: string): Promise<{ note: string[]; text: string } | undefined> {
    const { message } = await this.#request(`$JS.API.STREAM.MSG.GET.KV_${this.#ns}`, {
      last_by_subj: `$KV.${this.#ns}.${key}`,
    }) as { message?: { data: string; hdrs: string } };
    if (message === undefined) return undefined;
    const note = /Dyrygent-Outcome: *(.*)\r/.exec(atob(message.hdrs))![1]!.split(" ");
    return { note, text: atob(message.data) };
  }

  async #record(key: string, data: string, note: string): Promise<void> {
    const hdrs = headers();
    hdrs.set("Nats-Expected-Last-Subject-Sequence", "0");
    hdrs.set("Dyrygent-Outcome", note);
    const reply = await this.#nc.request(`$KV.${this.#ns}.${key}`, data, {
      headers: hdrs,
      timeout: 5_000,
    });
    const { error } = reply.json<{ error?: { err_code: number } }>();
    if (error !== undefined && ![10071, 10164].includes(error.err_code)) {
      throw new Error(`not recorded: ${error.err_code}`);
    }
  }
}

function unfold(runs: Json[]): number[] {
  return runs.flatMap((run) => {
    if (!Array.isArray(run)) return run as number;
    const [first, count, step] = run as [number, number, number];
    return Array.from({ length: count }, (_, i) => first + i * step);
  });
}

// ---- The tests ----

const protocol = suite<{ server: NatsServer }>("protocol");

protocol.before(async (context) => {
  context.server = await startNatsServer({ syncInterval: "default", version });
});

protocol.after(({ server }) => server.stop());

protocol("streams and consumers are configured as the page says", async ({ server }) => {
  await withConnection(server, async (nc) => {
    const app = await Dyrygent.open(nc, { namespace: "demo" });
    const worker = app.worker({ tasks: [long] });
    const processor = app.processor();
    await Promise.all([worker.start(), processor.start()]);
    await (await app.submit(long.s(1_500_000))).result(); // Else there is no bucket for it.
    await processor.stop();
    const configs = blocks("json").filter(({ title }) => title === "").map(({ text }) =>
      JSON.parse(text)
    );
    assert.is(configs.length, 7);
    for (const wanted of configs) {
      const { durable_name: consumer } = wanted;
      const stream = consumer === "processor" ? "demo_TICKS" : "demo_TASKS";
      const subject = consumer === undefined
        ? `$JS.API.STREAM.INFO.${wanted.name}`
        : `$JS.API.CONSUMER.INFO.${stream}.${consumer}`;
      const { config } = (await nc.request(subject)).json<{ config: Record<string, unknown> }>();
      for (const [field, value] of Object.entries(wanted)) {
        // Older servers leave out what is zero or false.
        assert.equal(config[field] ?? (value === false ? false : 0), value, `${subject}: ${field}`);
      }
    }
    await worker.stop();
  });
});

/** Without what differs from run to run. */
function timeless(text: string): string {
  return text
    .replaceAll(/\b\d{19}\b/g, "<ns>")
    .replaceAll(/\b\d{13}\b/g, "<ms>")
    .replaceAll(/"(id|instance)":"\w{22}"/g, `"$1":"<id>"`)
    .replaceAll(/\b(big-1\.0\.1)\.\w{22}\b/g, "$1.<id>")
    .replaceAll(/(Nats-Sequence|Subject-Sequence): [1-9]\d*/g, "$1: <n>")
    .replaceAll(/Nats-Time-Stamp: \S+/g, "Nats-Time-Stamp: <t>");
}

/** A message as the page writes them: headers, an empty line, the body. */
function written(msg: Msg): string {
  const lines = [...msg.headers ?? []].map(([name, values]) => `${name}: ${values.join()}`);
  return [...lines, ...(lines.length > 0 ? [""] : []), msg.string().trimEnd()].join("\n");
}

/** What older servers do not know, they are not sent. */
function asOn(version: string, text: string): string {
  return hasSubjectConditions(version) ? text : text.replace(
    /(Nats-Expected-Last-Subject-Sequence): \d+\nNats-Expected-Last-Subject-Sequence-Subject: .*\n/,
    "$1: 0\n",
  );
}

protocol("the page's examples are the messages that travel", async ({ server }) => {
  await withConnection(server, async (nc) => {
    const seen = new Map<string, string>();
    const spy = await connect({ servers: server.url });
    // Not ">": its interest in inboxes would let the server answer pulls of workers that are gone.
    for (const subjects of ["$KV.demo.>", "$KV.demo_STATE.>", "demo.>"]) {
      spy.subscribe(subjects, { callback: (_, msg) => void seen.set(msg.subject, written(msg)) });
    }
    await spy.flush();

    const flaky = task(
      "flaky",
      { retry: { max: 1, base: "50ms", jitter: false } },
      (n: number) => {
        if (failed) return n;
        failed = true;
        const error = new Error("no luck");
        error.stack = "Error: no luck\n    at flaky (tasks.ts:3:9)";
        throw error;
      },
    );
    let failed = false;
    const wf = new Workflow("report", { timeout: "1h", payload: { team: "storage" } });
    const a = wf.call(add, 1, 2).named("first");
    const b = wf.call(flaky, a).set({ priority: 9 });
    wf.call(sum, [a, b]);
    wf.finally(add.si(9, 9));

    const app = await Dyrygent.open(nc, { namespace: "demo" });
    const worker = app.worker({ tasks: [add, sum, flaky, long, double, tell], id: "w1" });
    const processor = app.processor();
    const run = await app.submit(wf, {
      id: "report-1",
      dedupe: { key: "report 1" },
      unknownTasks: "ignore",
    });
    await run.skip([3]);
    const when = { cron: "0 2 * * *", timeZone: "Europe/Warsaw" };
    await app.schedule("nightly", when, add.s(1, 2));
    await Promise.all([worker.start(), processor.start()]);
    assert.is(await run.result(), 6);
    await (await app.submit(long.s(2_000_000), { id: "big-1" })).result();
    const grow = new Workflow("grow", { retention: "keep" });
    grow.map(double, grow.input<number[]>());
    grow.finally(tell.s());
    await (await app.submit(grow, { id: "grow-1", input: [4] })).result();
    await Promise.all([worker.stop(), processor.stop()]);
    await spy.flush();
    await spy.close();

    const examples = blocks("text ");
    assert.ok(examples.length >= 10, "the examples are not found");
    for (const { title, text } of examples) {
      const actual = seen.get(title);
      assert.ok(actual !== undefined, `nothing was sent on ${title}`);
      assert.is(
        timeless(asOn(nc.info!.version, text)),
        timeless(actual!),
        `\n${title}\n${actual}\n`,
      );
    }
  });
});

protocol("a worker written from the page runs what our processor conducts", async ({ server }) => {
  await withConnection(server, async (nc) => {
    const app = await Dyrygent.open(nc, { namespace: "byhand" });
    let fails = 1;
    const worker = new HandWrittenWorker(nc, "byhand", "io-tasks", {
      add: (x: number, y: number) => x + y,
      sum: (xs: number[]) => xs.reduce((x, y) => x + y, 0),
      count: (text: string, xs: (number | null)[]) => [text.length, xs.length, xs.at(-1)],
      big: () => {
        if (fails-- > 0) throw new Failure("Error", "not yet", false);
        return "x".repeat(6_000);
      },
      size: (text: string) => text.length,
      nothing: () => undefined,
    });
    await worker.start();

    const big = task("big", { retry: { max: 1, base: 1 } }, () => "");
    const count = task(
      "count",
      (text: string, xs: readonly (number | null)[]) => [text.length, xs.length, xs.at(-1)!],
    );
    const nothing = task("nothing", () => {});
    const wf = new Workflow("by-hand", { defaults: { queue: "io-tasks" } });
    const text = wf.call(big).set({ priority: 9 });
    const later = wf.call(add, 1, 1).set({ countdown: "1h" });
    const many = Array.from({ length: 6 }, (_, i) => wf.call(add, i, 1));
    const counted = wf.call(count, text, [...many, later]);
    const ends: readonly Node[] = wf.add(chain(
      group(Array.from({ length: 9 }, (_, i) => add.s(i, i))),
      group([sum.s(), starmap(add, [[1, 2], [3, 4]])]),
    ));
    const last = ends.at(-1)!;
    const nobody = wf.call(nothing).after(last);
    // Its result is an object that our worker makes and the one by hand reads.
    const huge = wf.call(long, 1_500_000).set({ queue: "ours" });
    const size = wf.call(task("size", (text: string) => text.length), huge);
    const ours = app.worker({ tasks: [long], queues: ["ours"] });
    const processor = app.processor();
    await Promise.all([processor.start(), ours.start()]);
    const run = await app.submit(wf.output({ counted, last, nobody, size }), {
      unknownTasks: "ignore",
    });
    await run.skip([later]);
    const value = await run.result();
    await Promise.all([processor.stop(), ours.stop()]);

    assert.equal(value, { counted: [6_000, 7, null], last: [3, 7], nobody: null, size: 1_500_000 });
    assert.ok(worker.bodies.some((body) => "attempts" in body), "no message named an attempt");
    assert.ok(worker.bodies.some((body) => "results" in body), "no message brought a result");
    const read = worker.read.map((key) => key.slice(run.id.length)).sort();
    assert.equal(read, [".r.0.2", `.r.${huge.index}.1`].sort());
    assert.is((await run.status()).state, "SUCCESS");
  });
});

protocol("its failures count, and a second outcome is refused", async ({ server }) => {
  await withConnection(server, async (nc) => {
    const app = await Dyrygent.open(nc, { namespace: "byhand" });
    const worker = new HandWrittenWorker(nc, "byhand", "default", {});
    await worker.start();
    const processor = app.processor();
    await processor.start();
    const run = await app.submit(add.s(1, 1).set({ retry: { max: 5 } }), {
      id: "unknown",
      unknownTasks: "ignore",
    });
    assert.match(await message(run), /UnknownTaskError: never heard of it/);
    const hdrs = headers();
    hdrs.set("Nats-Expected-Last-Subject-Sequence", "0");
    const again = await nc.request("$KV.byhand.unknown.r.0.1", "2", {
      headers: hdrs,
      timeout: 5_000,
    });
    assert.is(again.json<{ error: { err_code: number } }>().error.err_code, 10071);
    const put = await nc.request("$KV.byhand.unknown.r.0.1", "2");
    assert.is(put.json<{ error: { err_code: number } }>().error.err_code, 10077);
    await processor.stop();
  });
});

async function message(run: Run): Promise<string> {
  try {
    await run.result();
    return "it succeeded";
  } catch (error) {
    return (error as Error).message;
  }
}

protocol("a definition submitted by hand, in two records, runs", async ({ server }) => {
  await withConnection(server, async (nc) => {
    const app = await Dyrygent.open(nc, { namespace: "submitted" });
    const worker = app.worker({ tasks: [add, sum] });
    const processor = app.processor();
    await Promise.all([worker.start(), processor.start()]);

    const policies = `"policies":[{"queue":"default","priority":5}],"policy":[0,0]`;
    const parts = [
      `{"first":0,"after":[[],[]],${policies}}\n` +
      `{"task":"add","args":[1,2]}\n{"task":"add","args":[3,4]}\n`,
      `{"first":2,"after":[[0,1],[]],${policies.replace("[0,0]", "[[0,2,0]]")}}\n` +
      `{"inputs":[{"at":[0],"nodes":[0,1]}],"task":"sum","args":[null]}\n{"task":"add","args":[0,0]}\n`,
    ];
    const digest = createHash("sha256").update(parts.join("")).digest("hex");
    const head =
      `{"v":1,"name":"mine","timeoutMs":60000,"nodes":4,"chunks":1,"digest":"${digest}"}\n`;
    const once = async (subject: string, data: string) => {
      const hdrs = headers();
      hdrs.set("Nats-Expected-Last-Subject-Sequence", "0");
      const reply = (await nc.request(subject, data, { headers: hdrs, timeout: 5_000 })).json<
        { error?: unknown }
      >();
      assert.is(reply.error, undefined);
    };
    await once(`$KV.submitted.mine-1.def.${digest.slice(0, 32)}-1`, parts[1]!);
    await once("$KV.submitted.mine-1.def.0", head + parts[0]);
    await once("submitted.tick.mine-1", `{"v":1}`);

    assert.equal(await app.run("mine-1").result(), [10, 0]);
    await Promise.all([worker.stop(), processor.stop()]);
  });
});

protocol.run();
