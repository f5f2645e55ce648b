/**
 * JSON, exactly: what JSON cannot carry without bending it (undefined, NaN, dates, maps, …) is refused with the path to
 * it, instead of arriving as something else. A node handle inside a value becomes a hole, and is reported to the caller.
 */
import { DyrygentError, InvalidWorkflowError } from "./errors.ts";
import { quote } from "./ids.ts";
import { LIMITS } from "./limits.ts";

/** Whether a JSON value is an object: not null, not an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export type Path = readonly (string | number)[];

/** Told about every value that is not plain data; returns true when it took it (a `null` stays in its place). */
export type TakeHandle = (value: object, path: Path) => boolean;

/** @throws {InvalidWorkflowError} with the path, when `value` would not survive. `name` starts that path. */
export function exactJson(value: unknown, name: string, takeHandle?: TakeHandle): string {
  if (typeof value === "number" && Number.isFinite(value) && !Object.is(value, -0)) {
    return String(value);
  }
  return new Writer(name, takeHandle).whole(value);
}

const LONE_SURROGATE = /\p{Cs}/u;

class Writer {
  readonly #name: string;
  readonly #takeHandle: TakeHandle | undefined;
  readonly #path: (string | number)[] = [];
  readonly #ancestors: object[] = [];

  constructor(name: string, takeHandle: TakeHandle | undefined) {
    this.#name = name;
    this.#takeHandle = takeHandle;
  }

  whole(value: unknown): string {
    try {
      return this.write(value);
    } catch (error) {
      if (error instanceof DyrygentError) throw error;
      return this.#refuse(
        "something that throws when it is read",
        "read it before you pass it",
        error,
      );
    }
  }

  write(value: unknown): string {
    switch (typeof value) {
      case "string":
        return this.#text(value);
      case "number":
        if (!Number.isFinite(value)) this.#refuse(quote(value), "JSON has no NaN or Infinity");
        return Object.is(value, -0) ? "-0" : String(value);
      case "boolean":
        return value ? "true" : "false";
      case "object":
        return value === null ? "null" : this.#object(value);
      case "function":
        if (this.#takeHandle?.(value, this.#path) === true) return "null";
        return this.#refuse(quote(value), "a function cannot travel");
      case "undefined":
        return this.#refuse("undefined", "JSON has no undefined: leave the key out, or say null");
      case "bigint":
      case "symbol":
        return this.#refuse(`a ${typeof value}`, "send it as a string");
    }
  }

  #text(value: string): string {
    if (LONE_SURROGATE.test(value)) {
      this.#refuse(
        "a string with a lone surrogate",
        "it is not valid Unicode and no UTF-8 can carry it",
      );
    }
    return JSON.stringify(value);
  }

  #object(value: object): string {
    if (this.#takeHandle?.(value, this.#path) === true) return "null";
    if (this.#ancestors.includes(value)) {
      this.#refuse("a circular reference", "a value cannot contain itself");
    }
    if (this.#ancestors.length >= LIMITS.depth) {
      this.#refuse(`more than ${LIMITS.depth} levels`, "flatten it, or send it as a string");
    }
    this.#ancestors.push(value);
    const text = Array.isArray(value) ? this.#array(value) : this.#record(value);
    this.#ancestors.pop();
    return text;
  }

  #array(values: readonly unknown[]): string {
    let text = "[";
    for (let i = 0; i < values.length; i++) {
      this.#path.push(i);
      text += (i === 0 ? "" : ",") + this.write(values[i]);
      this.#path.pop();
    }
    return text + "]";
  }

  #record(value: object): string {
    const prototype = Object.getPrototypeOf(value);
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
      this.#refuse(
        `a ${prototype.constructor?.name ?? "class"} instance`,
        "only plain objects, arrays, strings, numbers, booleans and null travel; convert it first",
      );
    }
    if (Object.getOwnPropertySymbols(value).length > 0) {
      this.#refuse("an object with symbol keys", "JSON keys are strings");
    }
    let text = "";
    for (const key of Object.keys(value)) {
      this.#path.push(key);
      if (key === "__proto__") {
        this.#refuse('the key "__proto__"', "it would change the object where it is read");
      }
      text += (text === "" ? "" : ",") + this.#text(key) + ":" +
        this.write((value as Record<string, unknown>)[key]);
      this.#path.pop();
    }
    return "{" + text + "}";
  }

  #refuse(what: string, why: string, cause?: unknown): never {
    const path = pathText(this.#name, this.#path);
    throw new InvalidWorkflowError(`${path} is ${what}: ${why}`, {
      path,
      cause,
      hint: "Arguments and results are JSON values; what JSON cannot carry exactly is refused.",
    });
  }
}

/** `args`, `[0, "user", "first name"]` → `args[0].user["first name"]`. */
export function pathText(name: string, path: Path): string {
  return name +
    path.map((step) =>
      typeof step === "number"
        ? `[${step}]`
        : /^[A-Za-z_$][\w$]*$/.test(step)
        ? `.${step}`
        : `[${JSON.stringify(step)}]`
    ).join("");
}

/** Arguments and results have at most 200 levels, and what is around them in a record some more. */
const DEEPEST = 2 * LIMITS.depth;

/**
 * Whether this text nests deeper than any record. Looked at before it is parsed: parsers take depths for which those
 * that write values, or walk through them, have no stack.
 */
export function isTooDeep(json: Uint8Array): boolean {
  if (json.length <= DEEPEST) return false;
  let levels = 0;
  for (let i = 0; i < json.length; i++) {
    switch (json[i]) {
      case QUOTE: // To the end of the string.
        while (++i < json.length && json[i] !== QUOTE) if (json[i] === BACKSLASH) i++;
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++levels > DEEPEST) return true;
        break;
      case 0x5d:
      case 0x7d:
        levels--;
    }
  }
  return false;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
