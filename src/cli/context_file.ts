/** Contexts of the `nats` command: `<folder>/context/<name>.json`, and the chosen one's name in `<folder>/context.txt`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isObject } from "../core/json.ts";
import { UsageError } from "./exit.ts";

/** What the flags say, or a context; each may be left out. */
export interface Where {
  readonly server?: string | undefined;
  readonly context?: string | undefined;
  readonly creds?: string | undefined;
  readonly nkey?: string | undefined;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly token?: string | undefined;
  readonly tlscert?: string | undefined;
  readonly tlskey?: string | undefined;
  readonly tlsca?: string | undefined;
}

/** Fields of a context that mean the same as a flag, by the flag. */
const FIELDS = {
  server: "url",
  creds: "creds",
  nkey: "nkey",
  user: "user",
  password: "password",
  token: "token",
  tlscert: "cert",
  tlskey: "key",
  tlsca: "ca",
} as const;

/**
 * @param name "selected": the chosen one, if there is one. Undefined: none.
 * @throws {UsageError} when there is no such context, or it cannot be read
 */
export function readContext(folder: string, name: string | undefined): Where {
  const chosen = name === "selected" ? textOf(join(folder, "context.txt"))?.trim() : name;
  if (chosen === undefined || chosen === "") return {};
  const path = join(folder, "context", `${chosen}.json`);
  const text = textOf(path);
  if (text === undefined) throw new UsageError(`There is no context "${chosen}": ${path}`);
  const context = parsed(text);
  if (context === undefined) throw new UsageError(`Context "${chosen}" is not JSON: ${path}`);
  const said = Object.entries(FIELDS).flatMap(([flag, field]) => {
    const value = context[field];
    return typeof value === "string" && value !== "" ? [[flag, value] as const] : [];
  });
  return Object.fromEntries(said);
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
