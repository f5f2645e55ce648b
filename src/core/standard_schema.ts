/**
 * Schemas of arguments and results, of any library that speaks Standard Schema v1 (https://standardschema.dev): only
 * the few fields that are used here are described, and no library is known by name. Nothing is checked unless asked for.
 */
import { InvalidOptionError } from "./errors.ts";
import { quote } from "./ids.ts";
import { type Path, pathText } from "./json.ts";

/** A schema as zod, valibot, arktype and others make them. It takes `In` and gives `Out`. */
export interface StandardSchema<In = unknown, Out = In> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Out> | Promise<SchemaResult<Out>>;
    readonly types?: { readonly input: In; readonly output: Out } | undefined;
  };
}

/** What a schema says of a value: what it is taken for, or what is wrong with it. */
export type SchemaResult<Out> =
  | { readonly value: Out; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** What a schema says is wrong, as Standard Schema has it. */
export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** One thing that is wrong, and where in the value. */
export interface Issue {
  readonly message: string;
  readonly path: Path;
}

export type Checked =
  | { readonly is: "valid"; readonly value: unknown }
  | { readonly is: "invalid"; readonly issues: readonly Issue[] };

/** What a worker records when arguments or a result do not fit. Trying again would not help. */
export class ValidationError extends Error {
  override readonly name = "ValidationError";

  constructor(message: string) {
    super(message);
    this.stack = undefined; // It would show the library, not the task.
  }
}

/** @throws {InvalidOptionError} unless `value` is a schema. */
export function checkSchema(option: string, value: unknown): StandardSchema | undefined {
  if (value === undefined) return undefined;
  const standard = (value as Partial<StandardSchema> | null)?.["~standard"];
  if (standard?.version === 1 && typeof standard.validate === "function") {
    return value as StandardSchema;
  }
  throw new InvalidOptionError(option, `${option} = ${quote(value)} is not a Standard Schema`, {
    hint:
      "Give a schema of zod, valibot, arktype or another library that implements Standard Schema v1.",
  });
}

/** Does `next` with `value`, at once if it is there already: what is synchronous stays so. */
export function andThen<T, R>(
  value: T | PromiseLike<T>,
  next: (value: T) => R | PromiseLike<R>,
): R | PromiseLike<R> {
  return isPromiseLike(value) ? value.then(next) : next(value);
}

export function isPromiseLike<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === "object" && value !== null &&
    typeof (value as PromiseLike<T>).then === "function";
}

/** What `schema` says of `value`. A schema that throws is not caught. */
export function checkValue(
  schema: StandardSchema,
  value: unknown,
): Checked | PromiseLike<Checked> {
  return andThen(schema["~standard"].validate(value), checkedOf);
}

/** The same for a list of arguments: what the schema gives must be one. */
export function checkArguments(
  schema: StandardSchema,
  args: unknown,
): Checked | PromiseLike<Checked> {
  return andThen(checkValue(schema, args), (checked) => {
    if (checked.is === "invalid" || Array.isArray(checked.value)) return checked;
    const message = `the input schema gave ${quote(checked.value)}, not a list of arguments`;
    return { is: "invalid", issues: [{ message, path: [] }] };
  });
}

function checkedOf(result: SchemaResult<unknown>): Checked {
  if (result.issues === undefined) return { is: "valid", value: result.value };
  // Libraries have lists of classes of their own: these are copied to plain ones.
  const issues = Array.from(result.issues, ({ message, path = [] }) => ({
    message: String(message),
    path: Array.from(path, stepOf),
  }));
  return { is: "invalid", issues };
}

function stepOf(step: PropertyKey | { readonly key: PropertyKey }): string | number {
  const key = typeof step === "object" ? step.key : step;
  return typeof key === "symbol" ? String(key) : key;
}

/** `args[0].url: Invalid URL; args[1]: Required`: the first few issues, each with its place. */
export function issuesText(name: string, issues: readonly Issue[]): string {
  const shown = issues.slice(0, SHOWN).map(({ path, message }) =>
    `${pathText(name, path)}: ${message}`
  );
  const more = issues.length > SHOWN ? [`and ${issues.length - SHOWN} more`] : [];
  return shown.length === 0 ? `${name}: refused without a reason` : [...shown, ...more].join("; ");
}

const SHOWN = 5;
