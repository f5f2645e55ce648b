#!/usr/bin/env node
/**
 * The command `nats-dyrygent`.
 *
 * @module
 */
import process from "node:process";
import { runCommandLine } from "./run.ts";

process.exitCode = await runCommandLine(process.argv.slice(2));
// A user's module may leave timers and sockets behind: they are not waited for.
process.exit();
