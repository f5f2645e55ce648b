/**
 * Traces and metrics by OpenTelemetry. Needs the package `@opentelemetry/api`, an optional peer dependency, and an SDK that
 * you set up.
 *
 * @module
 */
export { openTelemetry, type OpenTelemetryOptions } from "./src/opentelemetry/telemetry.ts";
