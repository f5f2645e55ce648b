/** How the command ends: what its exit codes mean, and how an error is said. */
import { DyrygentError } from "../core/errors.ts";
import { NatsServerNotFoundError } from "../nats_server/binary.ts";
import { NatsServerStartError } from "../nats_server/launch.ts";

type Exit = "ok" | "failed" | "usage" | "notFound" | "unavailable" | "interrupted";

/** Exit codes: a contract, see docs/cli.md. */
export const EXIT: Readonly<Record<Exit, number>> = {
  ok: 0,
  /** What was asked about is not well: a run that failed, a finding. */
  failed: 1,
  /** The command line makes no sense. */
  usage: 2,
  notFound: 3,
  /** No server, or it does not answer. */
  unavailable: 4,
  /** By SIGINT or SIGTERM. */
  interrupted: 130,
};

/** The command line makes no sense. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage;
  if (error instanceof NatsServerNotFoundError || error instanceof NatsServerStartError) {
    return EXIT.unavailable;
  }
  if (!(error instanceof DyrygentError)) return EXIT.failed;
  switch (error.code) {
    case "NOT_FOUND":
      return EXIT.notFound;
    case "UNAVAILABLE":
    case "UNSUPPORTED_SERVER":
      return EXIT.unavailable;
    case "INVALID_OPTION":
      return EXIT.usage;
    default:
      return EXIT.failed;
  }
}

/** What went wrong, and on a second line what to do. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const hint = error instanceof DyrygentError ? error.hint : undefined;
  return hint === undefined ? error.message : `${error.message}\n${hint}`;
}
