/** Schemas of any library: what they say, where, and by which short name two of them can be told apart. */
import { type } from "arktype";
import { runLocally } from "nats-dyrygent/testing";
import {
  chunks,
  currentTask,
  expand,
  FatalTaskError,
  InvalidOptionError,
  InvalidWorkflowError,
  map,
  type Node,
  type RecordedFailure,
  type StandardSchema,
  starmap,
  type Submittable,
  task,
  type TaskError,
  Workflow,
} from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import * as v from "valibot";
import { z } from "zod";
import { schemaHash } from "../../src/core/schema_hash.ts";
import { checkValue, issuesText } from "../../src/core/standard_schema.ts";

/** The same schema of a list of one object with an address, in three libraries. */
const libraries: Record<string, StandardSchema<[{ page: { url: string } }]>> = {
  zod: z.tuple([z.object({ page: z.object({ url: z.url() }) })]),
  valibot: v.tuple([v.object({ page: v.object({ url: v.pipe(v.string(), v.url()) }) })]),
  arktype: type([{ page: { url: "string.url" } }]),
};
const wrong = [{ page: { url: 7 } }];

/** A schema by hand: `check` gives a value, throws, or promises either. */
function byHand<T>(check: (value: unknown) => unknown): StandardSchema<T> {
  const validate = (value: unknown) => {
    const said = check(value);
    return said instanceof Promise ? said.then((value) => ({ value })) : { value: said };
  };
  return { "~standard": { version: 1, vendor: "hand", validate } } as StandardSchema<T>;
}

const schemas = suite("schemas");

for (const [library, schema] of Object.entries(libraries)) {
  schemas(`${library}: what is wrong is told with its path`, async () => {
    const checked = await checkValue(schema, wrong);
    assert.is(checked.is, "invalid");
    if (checked.is !== "invalid") return;
    assert.equal(checked.issues.map(({ path }) => path), [[0, "page", "url"]]);
    assert.match(issuesText("args", checked.issues), /^args\[0\]\.page\.url: .+/);
  });

  schemas(`${library}: what fits is given back`, async () => {
    const right = [{ page: { url: "https://nats.io" } }];
    assert.equal(await checkValue(schema, right), { is: "valid", value: right });
  });
}

schemas("a long list of issues is cut", () => {
  const issues = Array.from({ length: 9 }, (_, i) => ({ message: "no", path: [i] }));
  assert.is(
    issuesText("args", issues),
    "args[0]: no; args[1]: no; args[2]: no; args[3]: no; args[4]: no; and 4 more",
  );
});

schemas("what is no schema is refused where the task is made", () => {
  for (const input of [null, 5, {}, () => true, { "~standard": { version: 2, validate() {} } }]) {
    assert.throws(
      () => task("x", { input: input as never }, () => 1),
      (error: unknown) => error instanceof InvalidOptionError && error.option === "input",
    );
  }
  assert.throws(
    () => new Workflow("x", { defaults: { input: libraries.zod } as never }),
    (error: unknown) => error instanceof InvalidOptionError && error.option === "input",
  );
});

schemas("equal schemas have the same hash, others another one", () => {
  const make = [
    () => z.tuple([z.string()]),
    () => z.tuple([z.number()]),
    () => z.tuple([z.string().transform((text) => text.length)]),
    () => z.tuple([z.number().transform((n) => n)]),
    () => v.tuple([v.string()]),
    () => v.tuple([v.number()]),
    () => v.tuple([v.pipe(v.string(), v.regex(/^a/))]),
    () => v.tuple([v.pipe(v.string(), v.regex(/^b/))]),
    () => type(["string"]),
    () => type(["number"]),
  ];
  const hashes = make.map((schema) => schemaHash(schema(), "output"));
  assert.is(new Set(hashes).size, make.length);
  assert.equal(make.map((schema) => schemaHash(schema(), "output")), hashes);
  for (const hash of hashes) assert.match(hash, /^[0-9a-f]{16}$/);
});

schemas("using a schema does not change its hash", async () => {
  for (const schema of Object.values(libraries)) {
    const before = schemaHash(schema, "input");
    await checkValue(schema, wrong);
    assert.is(schemaHash(schema, "input"), before);
  }
});

schemas("a schema that contains itself, is endless or throws when it is read has a hash", () => {
  const round: Record<string, unknown> = {};
  round.self = round;
  Object.defineProperty(round, "angry", {
    enumerable: true,
    get() {
      throw new Error("do not touch");
    },
  });
  Object.defineProperty(round, "endless", {
    enumerable: true,
    get: () => Array.from({ length: 100 }, () => ({ more: Array.from({ length: 100 }) })),
  });
  const schema = Object.assign(round, byHand((value) => value));
  assert.match(schemaHash(schema, "input"), /^[0-9a-f]{16}$/);
});

schemas.run();

const validation = suite("validation");

/** How the only failed node failed. */
async function failureIn(
  target: Submittable<unknown>,
  tasks: Parameters<typeof runLocally>[1]["tasks"],
): Promise<Pick<RecordedFailure, "name" | "message"> & { attempt: number }> {
  const { error } = await runLocally(target, { tasks });
  const { remoteName, remoteMessage, attempt } = error!.failures[0] as TaskError;
  return { name: remoteName, message: remoteMessage, attempt };
}

async function refused(target: Submittable<unknown>): Promise<InvalidWorkflowError> {
  try {
    await runLocally(target, { tasks: [] });
  } catch (error) {
    if (error instanceof InvalidWorkflowError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

const size = task(
  "size",
  { input: z.tuple([z.url(), z.number().default(3)]) },
  (url, factor) => url.length * factor,
);
const echo = task("echo", (value: unknown) => value);

validation("arguments that are known are refused before anything runs", async () => {
  const wf = new Workflow("report");
  wf.call(echo, 1);
  wf.call(size, "no url").named("measure");
  const error = await refused(wf);
  assert.is(error.path, "nodes[1].args[0]");
  assert.match(
    error.message,
    /workflow "report": measure \(task "size"\).*nodes\[1\]\.args\[0\]: /,
  );
});

validation("of map, starmap and chunks each call is checked", async () => {
  assert.is((await refused(map(size, ["https://a.b", "c"]))).path, "nodes[0].args[0][1]");
  assert.is(
    (await refused(starmap(size, [["https://a.b"], ["https://a.b", "x" as never]]))).path,
    "nodes[0].args[0][1][1]",
  );
  assert.is(
    (await refused(chunks(size, [["https://a.b"], ["https://a.b"], ["c"]], 1))).path,
    "nodes[2].args[0][0][0]",
  );
});

validation("the handler gets what the schema gives: defaults, and what was coerced", async () => {
  const day = task(
    "day",
    { input: v.tuple([v.pipe(v.string(), v.transform((text) => new Date(text)))]) },
    (date) => date.getUTCDate(),
  );
  const wf = new Workflow("x");
  wf.output([wf.call(size, "https://a.b"), wf.call(day, "2026-11-22")]);
  const { result } = await runLocally(wf, { tasks: [size, day] });
  assert.equal(result, [33, 22]);
});

validation(
  "arguments that come from other nodes are checked by the worker, and not tried again",
  async () => {
    let calls = 0;
    const strict = task(
      "strict",
      { input: libraries.arktype!, retry: { max: 5 } },
      (_page) => ++calls,
    );
    const wf = new Workflow("x");
    wf.call(strict, wf.call(echo, wrong[0]) as never);
    const failure = await failureIn(wf, [echo, strict]);
    assert.is(failure.name, "ValidationError");
    assert.match(failure.message, /^args\[0\]\.page\.url: /);
    assert.is(failure.attempt, 1);
    assert.is(calls, 0);
  },
);

validation(
  "a result that does not fit is a failure; what fits is recorded as the schema gives it",
  async () => {
    const answer = task(
      "answer",
      { output: z.object({ n: z.number().default(42) }) },
      (n: number | null) => n === null ? {} : { n: n as number },
    );
    const { result } = await runLocally(answer.s(null), { tasks: [answer] });
    assert.equal(result, { n: 42 });
    const wrongOne = task("wrong", { output: z.array(z.number()) }, () => ["x"] as never);
    const failure = await failureIn(wrongOne.s(), [wrongOne]);
    assert.is(failure.name, "ValidationError");
    assert.match(failure.message, /^result\[0\]: /);
  },
);

validation("a call of map that fails says which", async () => {
  const even = task(
    "even",
    { output: z.number().multipleOf(2) },
    async (n: number) => n,
  );
  assert.match((await failureIn(map(even, [2, 4, 5]), [even])).message, /^result\[2\]: /);
  const wf = new Workflow("x");
  wf.call(task("even", { input: z.tuple([z.number().multipleOf(2)]) }, (n) => n), 2);
  assert.equal((await runLocally(wf, { tasks: [even] })).result, 2);
});

validation("an asynchronous schema is waited for, at the submit and in the worker", async () => {
  const later = task(
    "later",
    { input: byHand<[number]>(async (args) => (args as number[]).map((n) => n + 1)) },
    (n) => n,
  );
  assert.is((await runLocally(later.s(1), { tasks: [later] })).result, 2);
  const asyncZod = z.tuple([z.string().refine(async (text) => text === "yes")]);
  const picky = task("picky", { input: asyncZod }, (text) => text);
  assert.is((await refused(picky.s("no"))).path, "nodes[0].args[0]");
});

validation("a schema may ask which task it is in, in a worker", async () => {
  let seen = "";
  const asked = task("asked", {
    input: byHand<[number]>((args) => {
      try {
        seen = currentTask().taskName;
      } catch { /* at the submit */ }
      return args;
    }),
  }, (n) => n);
  await runLocally(asked.s(1), { tasks: [asked] });
  assert.is(seen, "asked");
});

validation("a schema that throws or gives no list is told as such", async () => {
  const angry = task(
    "angry",
    {
      input: byHand<[number]>(() => {
        throw new Error("broken");
      }),
    },
    (n) => n,
  );
  const error = await refused(angry.s(1));
  assert.match(error.message, /input schema of nodes\[0\]\.args threw: broken/);
  const listless = task("listless", { input: byHand<[number]>(() => 5) }, (n) => n);
  assert.match((await refused(listless.s(1))).message, /gave 5, not a list of arguments/);
});

validation(
  "what a handler throws itself is not taken for a validation, whatever its name",
  async () => {
    let calls = 0;
    const flaky = task("flaky", { retry: { max: 2, base: 1 }, output: z.number() }, () => {
      if (++calls === 1) {
        const error = new Error("somebody else's");
        error.name = "ValidationError";
        throw error;
      }
      if (calls === 2) return 7;
      throw new FatalTaskError("never");
    });
    assert.is((await runLocally(flaky.s(), { tasks: [flaky] })).result, 7);
  },
);

validation("the calls of wf.map are checked each", async () => {
  const wf = new Workflow("x");
  const urls = wf.call(echo, ["https://a.b", "c"]);
  wf.map(size, urls as Node<string[]>, 1);
  const failure = await failureIn(wf, [echo, size]);
  assert.match(failure.message, /ended as FAILURE: size-1/);
});

validation("of a task that is replaced, the result is what takes its place", async () => {
  const big = task("big", { output: z.number().max(1) }, () => expand(echo.s("text")) as never);
  const { result } = await runLocally(big.s(), { tasks: [big, echo] });
  assert.is(result as unknown, "text");
});

validation("a task called as a function is not checked", () => {
  assert.is(size("no url", 2), 12);
});

validation("a workflow that was read from JSON knows no schemas: the worker checks", async () => {
  const wf = new Workflow("x");
  wf.call(size, "no url");
  const failure = await failureIn(Workflow.fromJSON(wf.toJSON()), [size]);
  assert.match(failure.message, /^args\[0\]: /);
});

validation.run();
