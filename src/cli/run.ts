/** A command line from its words to its exit code. */
import { parseArgs } from "node:util";
import process from "node:process";
import type { NatsConnection } from "@nats-io/nats-core";
import type { Dyrygent } from "../dyrygent.ts";
import {
  type Asked,
  type Command,
  COMMON,
  COMMON_HELP,
  type Flags,
  type Values,
} from "./command.ts";
import { developing } from "./commands/developing.ts";
import { health } from "./commands/health.ts";
import { looking } from "./commands/looking.ts";
import { scheduling } from "./commands/scheduling.ts";
import { servingCommands } from "./commands/serving.ts";
import { steeringCommands } from "./commands/steering.ts";
import { submitting } from "./commands/submitting.ts";
import { tidying } from "./commands/tidying.ts";
import { completionFor } from "./completion.ts";
import { errorText, EXIT, exitCodeOf, UsageError } from "./exit.ts";
import { openFor } from "./namespace.ts";
import { Output } from "./output.ts";

const GROUPS: readonly (readonly [string, readonly Command[]])[] = [
  ["Serve", [...developing, ...servingCommands]],
  ["Submit", [...submitting, ...scheduling]],
  ["Look", looking],
  ["Steer", steeringCommands],
  ["Health", [...health, ...tidying]],
];
const completion: Command = {
  name: "completion",
  usage: "<bash|zsh|fish>",
  summary: "a script that completes commands and flags",
  run({ positionals, output }) {
    output.line(completionFor(positionals[0], COMMANDS, COMMON));
    return Promise.resolve(EXIT.ok);
  },
};
const COMMANDS: readonly Command[] = [...GROUPS.flatMap(([, commands]) => commands), completion];

/**
 * @param write what is printed; without it, to this process's output.
 * @returns the exit code.
 */
export async function runCommandLine(
  words: readonly string[],
  write?: (text: string) => void,
): Promise<number> {
  const [name, ...rest] = words;
  const isJson = words.includes("--json");
  const output = write === undefined
    ? Output.ofProcess(isJson)
    : new Output({ isJson, hasColour: false, write });
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    for (const line of overview()) output.line(line);
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  try {
    const command = COMMANDS.find((command) => command.name === name);
    if (command === undefined) {
      throw new UsageError(`There is no command "${name}": see nats-dyrygent --help.`);
    }
    const { values, positionals } = parsed(command, rest);
    if (values["help"] === true) {
      for (const line of helpOf(command)) output.line(line);
      return EXIT.ok;
    }
    return await execute(command, values, positionals, output);
  } catch (error) {
    const text = errorText(error);
    (write ?? console.error)(isJson ? JSON.stringify({ error: text, code: codeIn(error) }) : text);
    return exitCodeOf(error);
  }
}

function codeIn(error: unknown): unknown {
  return error instanceof UsageError ? "USAGE" : (error as { code?: unknown }).code;
}

async function execute(
  command: Command,
  values: Values,
  positionals: readonly string[],
  output: Output,
): Promise<number> {
  const stopping = new AbortController();
  let signals = 0;
  const stop = () => {
    // Whoever insists gets it at once.
    if (signals++ > 0) process.exit(EXIT.interrupted);
    stopping.abort();
  };
  // Ctrl-C reaches every process of a terminal: one that another one started is told to end by that one.
  const onSigint = process.connected === true ? () => {} : stop;
  process.on("SIGINT", onSigint);
  process.on("SIGTERM", stop);
  // Whoever started this one is gone.
  const onDisconnect = () => stopping.abort();
  process.on("disconnect", onDisconnect);
  let opened: Promise<{ app: Dyrygent; nc: NatsConnection }> | undefined;
  const asked: Asked = {
    positionals,
    values,
    output,
    signal: stopping.signal,
    open: (how) => opened ??= openFor(command, values, how),
  };
  // What serves ends what it has begun; whatever else only looks, and ends at once.
  const interrupted = new Promise<number>((resolve) => {
    if (command.serves !== true) {
      stopping.signal.addEventListener("abort", () => resolve(EXIT.interrupted));
    }
  });
  try {
    return await Promise.race([command.run(asked), interrupted]);
  } finally {
    process.off("SIGINT", onSigint);
    process.off("SIGTERM", stop);
    process.off("disconnect", onDisconnect);
    const connection = await opened?.catch(() => undefined);
    await connection?.nc.close();
  }
}

/** @throws {UsageError} */
function parsed(
  command: Command,
  words: string[],
): { values: Values; positionals: readonly string[] } {
  try {
    const { values, positionals } = parseArgs({
      args: words,
      allowPositionals: true,
      options: { ...COMMON, ...command.flags },
    });
    const most = command.usage.includes("…")
      ? Infinity
      : command.usage.split(" ").filter((part) => part !== "").length;
    if (positionals.length > most) {
      throw new UsageError(`${command.name} takes ${command.usage || "nothing more"}.`);
    }
    return { values: values as Values, positionals };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const [sentence] = (error as Error).message.split(". To specify");
    throw new UsageError(`${sentence}: see nats-dyrygent ${command.name} --help.`);
  }
}

function overview(): string[] {
  return [
    "nats-dyrygent <command> [flags]: workflows on NATS JetStream",
    ...[...GROUPS, ["More", [completion]] as const].flatMap(([title, commands]) => [
      "",
      title,
      ...commands.map(({ name, usage, summary }) =>
        `  ${`${name} ${usage}`.padEnd(27)} ${summary}`
      ),
    ]),
    "",
    "Flags of all commands",
    ...flagLines(COMMON, COMMON_HELP),
  ];
}

function helpOf({ name, usage, summary, flags = {}, help = {} }: Command): string[] {
  const own = flagLines(flags, help);
  return [
    `nats-dyrygent ${name} ${usage}`.trimEnd(),
    summary,
    ...(own.length === 0 ? [] : ["", ...own]),
    "",
    ...flagLines(COMMON, COMMON_HELP),
  ];
}

function flagLines(flags: Flags, help: Readonly<Record<string, string>>): string[] {
  return Object.entries(flags).map(([name, { type, short }]) => {
    const shown = `${short === undefined ? "   " : `-${short},`} --${name}${
      type === "string" ? " <…>" : ""
    }`;
    return `  ${shown.padEnd(26)} ${help[name] ?? ""}`;
  });
}
