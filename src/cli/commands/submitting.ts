/** Commands that make runs. */
import type { Run } from "../../client/run.ts";
import { isObject } from "../../core/json.ts";
import { Workflow } from "../../core/workflow.ts";
import { type Asked, type Command, jsonOf, needed, textFlag } from "../command.ts";
import { EXIT, UsageError } from "../exit.ts";
import { fileOf } from "../file.ts";
import { exportOf, loadModule } from "../module.ts";
import { Progress } from "../progress.ts";
import { codeOf } from "./looking.ts";

const submit: Command = {
  name: "submit",
  usage: "[module[#export]]",
  creates: true,
  summary: "a run of a workflow: of a module's, or of a JSON file",
  flags: {
    file: { type: "string", short: "f" },
    args: { type: "string" },
    input: { type: "string" },
    id: { type: "string" },
    wait: { type: "boolean", short: "w" },
  },
  help: {
    file: "a workflow as JSON (what toJSON() gives); - for standard input",
    args: "JSON list: the export is a function, and is called with these",
    input: "JSON: what the workflow's input() gives",
    id: "the run's id; else a random one",
    wait: "show how it goes on, and end as it ends",
  },
  async run(asked) {
    const target = await targetOf(asked);
    const id = textFlag(asked, "id");
    const input = textFlag(asked, "input");
    const { app } = await asked.open();
    const run = await app.submit(target, {
      ...(id === undefined ? {} : { id }),
      ...(input === undefined ? {} : { input: jsonOf("--input", input) }),
    });
    if (asked.values["wait"] !== true) {
      asked.output.give({ id: run.id }, () => asked.output.line(run.id));
      return EXIT.ok;
    }
    return await waitFor(asked, run);
  },
};

async function waitFor(asked: Asked, run: Run): Promise<number> {
  const { output } = asked;
  if (!output.isJson) output.line(run.id);
  const state = await new Progress(asked).follow(run);
  if (state === "SUCCESS") {
    const result = await run.result();
    output.give(
      { id: run.id, result },
      () => output.line(JSON.stringify(result, undefined, 2)),
    );
  }
  return codeOf(state);
}

type Target = Parameters<import("../../dyrygent.ts").Dyrygent["submit"]>[0];

async function targetOf(asked: Asked): Promise<Target> {
  const file = textFlag(asked, "file");
  if (file !== undefined) {
    const json = jsonOf(file, new TextDecoder().decode(fileOf("file", file)));
    if (!isObject(json)) throw new UsageError(`${file} is no workflow: it is not an object.`);
    return Workflow.fromJSON(json as never);
  }
  const [path, name] = needed(asked, 0, "module, or a --file").split("#");
  const exported = exportOf(await loadModule(path!), name, path!);
  const args = textFlag(asked, "args");
  if (typeof exported !== "function" || exported instanceof Workflow) {
    if (args !== undefined) throw new UsageError(`--args: ${name ?? "default"} is no function.`);
    return exported as Target;
  }
  const given = args === undefined ? [] : jsonOf("--args", args);
  if (!Array.isArray(given)) throw new UsageError("--args is no JSON list.");
  const make = "s" in exported ? exported.s : exported;
  return await (make as (...args: unknown[]) => Target | Promise<Target>)(...given);
}

export const submitting: readonly Command[] = [submit];
