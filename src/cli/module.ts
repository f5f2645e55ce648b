/** A user's module: its tasks, and what it exports to be submitted. */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { AnyTask } from "../core/task.ts";
import { UsageError } from "./exit.ts";

export type Module = Readonly<Record<string, unknown>>;

/** @throws {UsageError} when it cannot be loaded. */
export async function loadModule(path: string): Promise<Module> {
  const url = /^\w{2,}:/.test(path) ? path : pathToFileURL(resolve(path)).href;
  try {
    return await import(url) as Module;
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    const hint = code === "ERR_UNKNOWN_FILE_EXTENSION"
      ? " Node.js before 22.18 runs no TypeScript by itself: NODE_OPTIONS='--import tsx', or Deno."
      : "";
    throw new UsageError(`${path} cannot be loaded: ${message}.${hint}`);
  }
}

/** Every task that it exports, by itself, in a list or in an object. @throws {UsageError} when there is none */
export function tasksOf(module: Module, path: string): AnyTask[] {
  const found = new Set<AnyTask>();
  const look = (value: unknown, depth: number) => {
    if (isTask(value)) found.add(value);
    else if (depth < 2 && typeof value === "object" && value !== null) {
      for (const inner of Object.values(value)) look(inner, depth + 1);
    }
  };
  for (const value of Object.values(module)) look(value, 0);
  if (found.size === 0) {
    throw new UsageError(`${path} exports no task: export const add = task("add", …).`);
  }
  return [...found];
}

export function isTask(value: unknown): value is AnyTask {
  return typeof value === "function" && "taskName" in value;
}

/** @throws {UsageError} naming what there is. */
export function exportOf(module: Module, name = "default", path: string): unknown {
  if (name in module) return module[name];
  const names = Object.keys(module).join(", ");
  throw new UsageError(`${path} does not export ${name}; it exports: ${names || "nothing"}.`);
}
