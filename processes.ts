/**
 * Workers in several processes, to use all cores.
 *
 * @module
 */
export {
  Processes,
  type ProcessesOptions,
  startProcesses,
  type Stoppable,
} from "./src/processes/processes.ts";
export { untilStopped } from "./src/processes/until_stopped.ts";
