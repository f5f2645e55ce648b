/** Starts two workers, says who they are, and does nothing more: `<url> <namespace>`. */
import process from "node:process";
import { startProcesses, untilStopped } from "nats-dyrygent/processes";

const script = new URL("./worker_process.ts", import.meta.url);
const processes = await startProcesses(script, { count: 2, args: process.argv.slice(2) });
console.log(`started ${processes.pids.join(" ")}`);
await untilStopped(processes);
