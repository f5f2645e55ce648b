/** Telemetry that fails must not fail what it tells of: what it throws goes to the log, once. */
import { InvalidOptionError } from "../core/errors.ts";
import { quote } from "../core/ids.ts";
import { failureOf } from "../core/records.ts";
import type { Log } from "../ports.ts";
import type { Ongoing, Telemetry } from "../telemetry.ts";

const UNTOLD: Ongoing = { trace: undefined, within: (call) => call(), end: () => {} };

/** @throws {InvalidOptionError} */
export function checkTelemetry(value: Telemetry): Telemetry {
  const { begin, measure, observe } = value ?? {};
  if ([begin, measure, observe].every((part) => typeof part === "function")) return value;
  throw new InvalidOptionError("telemetry", `telemetry = ${quote(value)} is no telemetry`, {
    hint: "Give what openTelemetry() of nats-dyrygent/opentelemetry returns.",
  });
}

export function guarded(telemetry: Telemetry, log: Log): Telemetry {
  let isSaid = false;
  const attempt = <T>(call: () => T, otherwise: T): T => {
    try {
      return call();
    } catch (error) {
      if (!isSaid) {
        log("warn", `telemetry failed: ${failureOf(error).message}`, {
          event: "telemetry-failed",
          error,
        });
      }
      isSaid = true;
      return otherwise;
    }
  };
  return {
    begin: (operation) => {
      const ongoing = attempt(() => telemetry.begin(operation), UNTOLD);
      return {
        trace: ongoing.trace,
        within: (call) => ongoing.within(call),
        end: (how) => attempt(() => ongoing.end(how), undefined),
      };
    },
    measure: (measurement) => attempt(() => telemetry.measure(measurement), undefined),
    observe: (read) => attempt(() => telemetry.observe(read), () => {}),
  };
}
