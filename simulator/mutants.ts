/**
 * Bugs to plant, one at a time, in a copy of the code: a text that stands in a file exactly once, and what is put in its
 * place. Each is a mistake that somebody could make. Nothing of them is in the product.
 */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Those that are to catch it: where the simulator judges by the very code that is broken, or does not come across it. */
  readonly tests?: string;
}

const CONDUCTOR = "src/processor/conductor.ts";
const PROCESSOR = "src/processor/processor.ts";
const RECORDER = "src/worker/recorder.ts";
const SCHEDULER = "src/core/scheduler.ts";
const SCHEDULING = "core/scheduler_property";

export const MUTANTS: readonly Mutant[] = [
  {
    name: "a task is acknowledged before its outcome is recorded",
    file: RECORDER,
    find: "    facts.create(key, data, note, held.trace).then(",
    replace: "    this.#onRecorded(held);\n    facts.create(key, data, note, held.trace).then(",
  },
  {
    name: "an outcome that could not be written counts as recorded",
    file: RECORDER,
    find: "        clock.after(AGAIN_MS, () => this.#write(held, outcome));",
    replace: "        void clock, this.#onRecorded(held);",
  },
  {
    name: "every attempt is recorded as the first",
    file: RECORDER,
    find: "const key = outcomeKey(address.workflow, address.node, address.attempt);",
    replace: "const key = outcomeKey(address.workflow, address.node, 1);",
  },
  {
    name: "an outcome names its blob before the blob is there",
    file: RECORDER,
    find: "      await blobs.put(blob, data);\n",
    replace: "      clock.after(2_000, () => void blobs.put(blob, data).catch(() => {}));\n",
  },
  {
    name: "that the server does not answer is taken for a failure of the task",
    file: "src/worker/worker.ts",
    find: "      this.#drop(held, UNAVAILABLE_DELAY_MS);\n      return undefined;",
    replace: '      return { is: "failed", failure: failureOf(error) };',
  },
  {
    name: "a task that is delivered again is acknowledged unseen",
    file: "src/worker/worker.ts",
    find: "        await this.#beginnings.isRecorded(verdict)\n",
    replace: "        await Promise.resolve(true)\n",
  },
  {
    name: "an input is read as the first attempt's result",
    file: "src/processor/task_messages.ts",
    find: "if (attempt !== 1) attempts.push([upstream, attempt]);",
    replace: "void attempt;",
  },
  {
    name: "a result is kept for fewer dependents than take it",
    file: "src/processor/results.ts",
    find: "    return this.#data.get(node);",
    replace: "    const data = this.#data.get(node);\n    return data?.map((byte) => byte ^ 1);",
  },
  {
    name: "a retry is sent though it is not known what it waits for",
    file: SCHEDULER,
    find: "    if (this.isHeld(node)) this.#ahead.add(node);\n    this.#enter(node, RETRY);",
    replace: "    this.#enter(node, RETRY);",
    tests: SCHEDULING,
  },
  {
    name: "a tick is acknowledged before the terminal record is durable",
    file: CONDUCTOR,
    find: "    const first = await this.#recordEnd(state);\n",
    replace: "    this.#events.onEnd(state);\n    const first = await this.#recordEnd(state);\n",
  },
  {
    name: "an end is recorded whatever control facts were not heard",
    file: CONDUCTOR,
    find:
      "    const decided = { state, controls: this.#controls, controlledTo: this.#controlledTo };\n",
    replace:
      "    const controlledTo = (await this.#ports.facts.last(`${this.workflow}.ctl.*`))?.seq ?? 0;\n" +
      "    const decided = { state, controls: this.#controls, controlledTo };\n",
    tests: "processor/unheard",
  },
  {
    name: "a run that was removed while its log was read is begun anew",
    file: CONDUCTOR,
    find: "    if (log === undefined) await this.#stopIfRemoved();\n",
    replace: "",
    tests: "processor/removed_meanwhile",
  },
  {
    name: "a hint that was lost is never made up for",
    file: CONDUCTOR,
    find: "  async #ensureOne(address: TaskAddress, isQueued: boolean): Promise<boolean> {\n",
    replace: "  async #ensureOne(address: TaskAddress, isQueued: boolean): Promise<boolean> {\n" +
      "    if (address.node >= 0) return false;\n",
  },
  {
    name: "a message that got lost is not sent again",
    file: CONDUCTOR,
    find: "    this.#outbox.send(node, attempt, this.#expiryOf(node));\n    return true;",
    replace: "    return true;",
    tests: "processor/unheard",
  },
  {
    name: "whoever takes over reads the log before the queue",
    file: CONDUCTOR,
    find: "    const queued = this.#isTakingOver ? await tasks.list(this.workflow) : [];\n" +
      "    return { queued, loaded: await loadFacts(facts, this.workflow) };\n",
    replace: "    const loaded = await loadFacts(facts, this.workflow);\n" +
      "    return { queued: this.#isTakingOver ? await tasks.list(this.workflow) : [], loaded };\n",
    tests: "processor/takeover",
  },
  {
    name: "whoever takes over trusts that all that was ready is queued",
    file: CONDUCTOR,
    find: "      if (this.#outbox.sent(node, attempt) === undefined) this.#enqueue(effect);",
    replace: "      if (this.#isTakingOver && !isUntouched(loaded)) continue;\n" +
      "      if (this.#outbox.sent(node, attempt) === undefined) this.#enqueue(effect);",
  },
  {
    name: "a moment that has come is forgotten",
    file: CONDUCTOR,
    find: '    if (effect.is === "dispatch") this.#outbox.push(effect);\n',
    replace: "",
  },
  {
    name: "a child's end is not told to its parent",
    file: "src/processor/family.ts",
    find: "    const message = `run ${this.#workflow} ended as",
    replace: "    if (attempt > 0) return;\n    const message = `run ${this.#workflow} ended as",
  },
  {
    name: "the server is out of reach, so the definition counts as gone",
    file: PROCESSOR,
    find: "        ? await loadNew(facts, workflow)\n",
    replace: "        ? await loadNew(facts, workflow).catch(() => " +
      '({ loaded: { is: "missing" } as LoadedDefinition, isUntouched: false }))\n',
  },
  {
    name: "the tick of a workflow that another processor has is acknowledged",
    file: PROCESSOR,
    find: "    if (seq >= held.tick.seq) this.#drop(held);\n    else",
    replace: "    if (seq >= held.tick.seq) {\n      held.tick.ack();\n" +
      "      this.#drop(held);\n    } else",
  },
  {
    name: "a run is taken from another processor that is not asked",
    file: PROCESSOR,
    find: "const answer = this.#handOver.ask(workflow, seq);",
    replace: 'const answer = Promise.resolve("let go" as Answer);',
    tests: "simulator/schedules",
  },
  {
    name: "who is asked for a run lets go of it before what was sent has arrived",
    file: PROCESSOR,
    find: "    await held.conductor?.settled();\n    return",
    replace: "    return",
    tests: "processor/takeover",
  },
  {
    name: "a message that is on its way when its run is cancelled is forgotten",
    file: CONDUCTOR,
    find: "this.#outbox.withdrawStale(onTheirWay)",
    replace: "this.#outbox.withdrawStale([])",
    tests: "processor/unheard",
  },
  {
    name: "a workflow that is put aside loses its tick",
    file: PROCESSOR,
    find: "    held.tick.giveBack(TROUBLE_DELAY_MS);",
    replace: "    held.tick.ack();",
  },
  {
    name: "a workflow with tasks under way may be forgotten",
    file: CONDUCTOR,
    find: " && this.isQuiet && this.#outbox.size === 0 &&\n",
    replace: " && this.isQuiet &&\n",
    tests: "processor/parked",
  },
  {
    name: "a run that grows is named before it is there",
    file: "src/runs/expansion.ts",
    find: "    await submitDefinition(ports, child, { ...definition, payload, parent }, trace);\n",
    replace: "    await ports.facts.create(\n" +
      "      expansionKey(workflow, node, attempt),\n" +
      "      writeExpansion({ child, at: ports.clock.now() }),\n    );\n" +
      "    await submitDefinition(ports, child, { ...definition, payload, parent }, trace);\n",
  },
  {
    name: "a quiet run is put aside as it stands though something was heard since its log was read",
    file: CONDUCTOR,
    find: "    this.#isAsRead = false;\n",
    replace: "",
    tests: "processor/parked",
  },
  {
    name: "a look at a quiet run does not ask whether its messages are in the queue",
    file: "src/processor/standing.ts",
    find: "if (!waiting.every(({ address }) => isQueued(address))) return false;",
    replace: "void isQueued;",
    tests: "processor/parked",
  },
  {
    name: "what is recorded during a look at a quiet run goes unheard",
    file: PROCESSOR,
    find: "if (isStill && held.standing === standing)",
    replace: "if (isStill)",
    tests: "processor/parked",
  },
  {
    name: "lost ticks are not looked for",
    file: "src/processor/sweeper.ts",
    find: "        await ticks.ensure(workflow);\n",
    replace: "        void ticks;\n",
  },
  {
    name: "a run that was reopened since it was looked at is removed",
    file: "src/processor/sweeper.ts",
    find: "    return await lastEnd(facts, workflow).then((last) => last?.reopened !== false);",
    replace: "    return false;",
    tests: "processor/sweeper",
  },
  {
    name: "a run that is under way is removed by a sweep",
    file: "src/processor/sweeper.ts",
    find: "        if (end !== undefined) await this.#replaceDeadTick(workflow, end);\n",
    replace: "        if (end === undefined) await removeRun(this.#ports, workflow);\n",
  },
  {
    name: "a client that waits is told by hints alone, and does not look first",
    file: "src/client/wait.ts",
    find: "      const found = await look(latest);\n",
    replace: "      const found = latest === undefined ? undefined : await look(latest);\n",
  },
  {
    name: "who waits for a run that was removed waits for ever",
    file: "src/client/run.ts",
    find: "      if (head === undefined) throw this.#notFound();\n",
    replace: "",
  },
  {
    name: "control facts are all written under the same number",
    file: "src/runs/control.ts",
    find: '=== "exists") {\n',
    replace: '=== "exists") {\n    break;\n',
  },
  {
    name: "an outcome counts twice when it is heard twice",
    file: SCHEDULER,
    find: "    if (this.hasEnded(node)) return this.#noteLate(node, attempt);\n" +
      "    this.#attempt[node] = attempt;\n    this.#reviving.delete(node);\n    if (fact.is",
    replace:
      "    this.#attempt[node] = attempt;\n    this.#reviving.delete(node);\n    if (fact.is",
  },
  {
    name: "the next round takes numbers of attempts that were recorded too late to count",
    file: SCHEDULER,
    find: "if (state !== SUCCESS && state !== FAILURE) this.#attempt[node] = attempt;",
    replace: "void [state, attempt];",
    tests: "core/scheduler_test",
  },
  {
    name: "one retry more than allowed",
    file: "src/core/retry.ts",
    find: "retries >= policy.max",
    replace: "retries > policy.max",
    tests: "core/",
  },
  {
    name: "an outcome of an earlier attempt ends the node",
    file: SCHEDULER,
    find: "attempt >= this.#attempt[node]! && retries >= 0",
    replace: "retries >= 0",
    tests: SCHEDULING,
  },
  {
    name: "what failed counts as done well for those that wait for success",
    file: SCHEDULER,
    find: 'if (decision.is === "giveUp") return this.#end(node, FAILURE, fact.at);',
    replace: 'if (decision.is === "giveUp") return this.#end(node, SUCCESS, fact.at);',
    tests: SCHEDULING,
  },
  {
    name: "a cancel spares what is not cleanup once it is paused",
    file: SCHEDULER,
    find: "      if (this.#isCleanup(node) === cleanup && !this.hasEnded(node)) " +
      "this.#end(node, CANCELLED, at);",
    replace: "      if (this.#isCleanup(node) === cleanup && this.isOpen(node)) " +
      "this.#end(node, CANCELLED, at);",
    tests: "core/scheduler",
  },
];
