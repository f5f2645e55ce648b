/**
 * Names that travel in NATS subjects. A dot, a wildcard or a space in one of them would address something else,
 * so everything outside a small alphabet is refused before anything is sent.
 */
import { chanceOf } from "./chance.ts";
import { InvalidOptionError } from "./errors.ts";

const ID = /^[A-Za-z0-9_-]{1,64}$/;
const TASK_NAME = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$/;

export type IdKind = "workflow id" | "node name" | "queue" | "namespace" | "worker id" | "event";

/** @throws {InvalidOptionError} unless `value` matches `^[A-Za-z0-9_-]{1,64}$`. */
export function checkId(kind: IdKind, value: unknown): string {
  if (isId(value)) return value;
  throw new InvalidOptionError(
    kind,
    `${kind} ${quote(value)} cannot be used: it must match ${ID.source}`,
    {
      hint:
        "Use 1 to 64 letters, digits, '-' or '_'; put anything longer or richer into a payload.",
    },
  );
}

/** @throws {InvalidOptionError} unless `value` is letters, digits, `_`, `-` and dots, 1 to 128 characters. */
export function checkTaskName(value: unknown): string {
  if (isTaskName(value)) return value;
  throw new InvalidOptionError(
    "task name",
    `task name ${quote(value)} cannot be used: it must match ${TASK_NAME.source}`,
    { hint: "Use letters, digits, '-', '_' and dots, e.g. \"pages.fetch\"." },
  );
}

/** True for an id that may stand in a subject. */
export function isId(value: unknown): value is string {
  return typeof value === "string" && ID.test(value);
}

export function isTaskName(value: unknown): value is string {
  return typeof value === "string" && TASK_NAME.test(value);
}

/** The id of the run that takes a node's place. The same for everybody; long ids are shortened by a hash. */
export function childRunId(workflow: string, node: number, attempt: number): string {
  const id = `${workflow}__${node}_${attempt}`;
  if (id.length <= 64) return id;
  const hash = [1, 2, 3, 4].map((salt) =>
    Math.floor(chanceOf(`${salt} ${id}`) * 0x1_0000_0000).toString(36).padStart(7, "0")
  );
  return `${workflow.slice(0, 32)}__${hash.join("")}`;
}

/** A value as an error message shows it: short, one line, never throwing. */
export function quote(value: unknown): string {
  const text = typeof value === "string"
    ? JSON.stringify(value)
    : typeof value === "function"
    ? `a function${value.name === "" ? "" : ` (${value.name})`}`
    : describe(value);
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

function describe(value: unknown): string {
  if (typeof value !== "object" || value === null) return `${String(value)}`;
  try {
    return JSON.stringify(value) ?? Object.prototype.toString.call(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}
