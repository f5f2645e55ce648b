/**
 * A short name for a schema, the same in every process that has the same schema: it shows that two workers disagree
 * about a task. Best effort. It never decides whether a value fits.
 */
import { chanceOf } from "./chance.ts";
import type { StandardSchema } from "./standard_schema.ts";

/** Which of its two sides is meant: what it takes or what it gives. */
export type SchemaSide = "input" | "output";

/** The fields of libraries that can describe a schema as JSON Schema. */
interface Describable {
  readonly jsonSchema?: Partial<Record<SchemaSide, (options: { target: string }) => unknown>>;
}

/** Deeper, or more, says nothing that the rest does not. */
const DEPTH = 12;
const MOST_VALUES = 5_000;

export function schemaHash(schema: StandardSchema, side: SchemaSide): string {
  const text = `${schema["~standard"].vendor} ${jsonSchemaText(schema, side) ?? shape(schema)}`;
  // Two halves: 32 bits are few enough for two schemas to meet.
  return [text, `${text.length} ${text}`].map(hex).join("");
}

function hex(text: string): string {
  return Math.floor(chanceOf(text) * 0x1_0000_0000).toString(16).padStart(8, "0");
}

/** @returns undefined when the library cannot say it, e.g. of a transformation. */
function jsonSchemaText(schema: StandardSchema, side: SchemaSide): string | undefined {
  const { jsonSchema } = schema["~standard"] as Describable;
  try {
    const described = jsonSchema?.[side]?.({ target: "draft-2020-12" });
    return described === undefined ? undefined : JSON.stringify(described);
  } catch {
    return undefined;
  }
}

/** What the schema shows of itself, in the order of keys. Keys that begin with `_` or `~` are a library's own affair. */
function shape(schema: StandardSchema): string {
  let values = 0;
  const ancestors: object[] = [];
  const write = (value: unknown): string => {
    if (++values > MOST_VALUES) return "…";
    if (typeof value === "function" && Object.keys(value).length === 0) return "f";
    if ((typeof value !== "object" && typeof value !== "function") || value === null) {
      return typeof value === "string" ? JSON.stringify(value) : String(value);
    }
    if (value instanceof RegExp || value instanceof Date) return String(value);
    if (ancestors.includes(value) || ancestors.length >= DEPTH) return "…";
    ancestors.push(value);
    const fields = Object.keys(value).filter((key) => !/^[_~]/.test(key)).sort().map((key) =>
      `${key}:${write(read(value, key))}`
    );
    ancestors.pop();
    return `{${fields.join(",")}}`;
  };
  return write(schema);
}

function read(value: object, key: string): unknown {
  try {
    return (value as Record<string, unknown>)[key];
  } catch {
    return "unreadable";
  }
}
