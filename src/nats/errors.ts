/** What the server and the client library say when something fails, as the errors of this library. By code, never by text. */
import {
  AuthorizationError,
  ClosedConnectionError,
  DrainingConnectionError,
  NoRespondersError,
  PermissionViolationError,
  TimeoutError,
} from "@nats-io/nats-core";
import { JetStreamApiError } from "@nats-io/jetstream";
import { DyrygentError, UnavailableError, UnsupportedServerError } from "../core/errors.ts";

/** JetStream's error codes that mean something to the protocol. */
export const CODE = {
  jetStreamDown: 10008,
  consumerNotFound: 10014,
  messageNotFound: 10037,
  jetStreamOff: 10039,
  jetStreamOffForAccount: 10076,
  streamNotFound: 10059,
  /** Also said when a store that was just deleted is still being cleared up. */
  streamNotCreated: 10049,
  /** With another configuration. */
  consumerExists: 10148,
  /** The subject has a message already: what "expected last sequence 0" is answered with. */
  wrongLastSequence: 10071,
  /** Messages, messages per subject or bytes: with an expected sequence it is never the subject. */
  storeFull: 10077,
  duplicateInProcess: 10158,
  /** The same as wrongLastSequence, from a replicated stream: what takes the place may be only proposed. */
  wrongLastSequenceConstant: 10164,
} as const;

/** An action that failed, in the caller's words. Errors of this library pass through. */
export function translate(action: string, error: unknown): Error {
  if (error instanceof DyrygentError) return error;
  if (isJetStreamOff(error)) {
    return new UnsupportedServerError(
      `Cannot ${action}: JetStream is not enabled on the server (or for this account)`,
      {
        cause: error,
        hint: "Start nats-server with -js, or enable JetStream for the account.",
      },
    );
  }
  const denied = deniedSubject(error);
  if (denied !== undefined) {
    return new UnavailableError(`Cannot ${action}: permission denied for ${denied}`, {
      cause: error,
      hint:
        "Give the user permission for that subject; docs/protocol.md lists all that are needed.",
    });
  }
  if (error instanceof ClosedConnectionError || error instanceof DrainingConnectionError) {
    return new UnavailableError(`Cannot ${action}: the connection is closed`, {
      cause: error,
      hint: "Stop workers and processors before you close their connection.",
    });
  }
  const reason = error instanceof TimeoutError || error instanceof NoRespondersError
    ? "the server did not answer"
    : String((error as Error)?.message ?? error);
  return new UnavailableError(`Cannot ${action}: ${reason}`, {
    cause: error,
    hint: "Try again; see whether the server and its JetStream are up.",
  });
}

function isJetStreamOff(error: unknown): boolean {
  // The client has a class for it that it does not export; its name is part of its documentation.
  if ((error as Error | undefined)?.name === "JetStreamNotEnabled") return true;
  return hasCode(error, CODE.jetStreamOff, CODE.jetStreamOffForAccount);
}

/** Whether trying again may help: the server is away, restarting, clearing up, or electing a leader. */
export function isTransient(error: unknown): boolean {
  if (deniedSubject(error) !== undefined) return false;
  for (let e = error; e instanceof Error; e = e.cause) {
    if (
      e instanceof TimeoutError || e instanceof NoRespondersError || e instanceof UnavailableError
    ) return true;
    // Nobody answers for JetStream: it was there when the namespace was opened.
    if (isJetStreamOff(e) || hasCode(e, CODE.jetStreamDown, CODE.streamNotCreated)) return true;
  }
  return false;
}

/** Whether JetStream answered with one of these codes. */
export function hasCode(error: unknown, ...codes: number[]): boolean {
  return error instanceof JetStreamApiError && codes.includes(error.code);
}

function deniedSubject(error: unknown): string | undefined {
  for (let e = error; e instanceof Error; e = e.cause) {
    if (e instanceof PermissionViolationError) return `${e.operation} on "${e.subject}"`;
    if (e instanceof AuthorizationError) return "this user";
  }
  return undefined;
}
