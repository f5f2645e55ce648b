/**
 * Testing workflows without a server.
 *
 * @module
 */
export { type LocalRun, runLocally, type RunLocallyOptions } from "./src/testing/run_locally.ts";
