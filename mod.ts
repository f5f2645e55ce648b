/**
 * nats-dyrygent: workflows of any shape on NATS JetStream. Everything a user imports.
 *
 * @module
 */
export { type AnyTask, type ResultOf, type Task, task, type TaskSchemas } from "./src/core/task.ts";
export type { SchemaIssue, SchemaResult, StandardSchema } from "./src/core/standard_schema.ts";
export {
  type AnyCanvas,
  Canvas,
  Chain,
  chain,
  Chord,
  chord,
  chunks,
  type DoesNotFit,
  type GivenBy,
  Group,
  group,
  map,
  type NodeFailure,
  type Nothing,
  type RunSummary,
  Signature,
  starmap,
  type TakenBy,
} from "./src/core/canvas.ts";
export {
  type AddedNodes,
  type AfterOptions,
  type Arg,
  Node,
  type Resolved,
  Workflow,
  type WorkflowOptions,
} from "./src/core/workflow.ts";
export type { TriggerRule } from "./src/core/draft.ts";
export { event, type EventName } from "./src/core/event.ts";
export { expand } from "./src/core/expand.ts";
export type { Expansion } from "./src/core/expansion.ts";
export type { RateLimit, SharedLimit } from "./src/core/lanes.ts";
export type { NodeJson, WorkflowJson } from "./src/core/definition_json.ts";
export type { EdgeKind } from "./src/core/graph.ts";
export type { Policy, SignatureOptions, TaskOptions } from "./src/core/options.ts";
export type { Backoff, RetryOptions, RetryPolicy } from "./src/core/retry.ts";
export type { Duration } from "./src/core/duration.ts";
export type { CronRecurrence, Recurrence, SpanRecurrence } from "./src/core/recurrence.ts";
export type { MissedPolicy, ScheduleStatus } from "./src/core/schedule.ts";
export type { RunStatus } from "./src/core/records.ts";
export type { AnnouncedTask, LiveProcessor, LiveWorker } from "./src/core/presence.ts";
export type { FinalState, WorkflowState } from "./src/core/fact.ts";
export type { Counts, NodeState } from "./src/core/node_state.ts";
export type { Codec } from "./src/core/sealing.ts";
export {
  CodecError,
  ConfigMismatchError,
  ConflictError,
  CycleError,
  DyrygentError,
  FatalTaskError,
  InvalidOptionError,
  InvalidWorkflowError,
  NotFoundError,
  PayloadTooLargeError,
  type RecordedFailure,
  TaskError,
  UnavailableError,
  UnsupportedServerError,
  WorkflowFailedError,
} from "./src/core/errors.ts";
export { type CurrentTask, currentTask } from "./src/worker/current_task.ts";
export type { Worker } from "./src/worker/worker.ts";
export type { WorkerOptions } from "./src/worker/options.ts";
export type { Processor, RunOnceReport } from "./src/processor/processor.ts";
export type { ProcessorOptions } from "./src/processor/options.ts";
export type { FeedEvent, FeedEventName, FeedHead, FeedNode } from "./src/core/feed_event.ts";
export type { ProcessorEvents } from "./src/processor/hooks.ts";
export type { AttemptStatus, ControlAnswer, NodeReference, Run } from "./src/client/run.ts";
export type { LogsOptions, TaskLogLine } from "./src/client/logs.ts";
export type { NodeStatus } from "./src/client/nodes.ts";
export type { AuditOptions, AuditReport } from "./src/client/audit.ts";
export type { DoctorOptions, DoctorReport } from "./src/client/doctor.ts";
export type { DoctorCode, DoctorFinding, Severity } from "./src/core/doctor_finding.ts";
export type { AuditFinding, Invariant } from "./src/core/audit.ts";
export type { RunEvent } from "./src/client/watch.ts";
export type { Schedule, ScheduleOptions } from "./src/client/schedules.ts";
export type { ListOptions } from "./src/client/list.ts";
export type { Quarantined } from "./src/client/quarantine.ts";
export type { SubmitOptions, Submittable } from "./src/client/submit.ts";
export type { DedupeOptions } from "./src/client/dedupe.ts";
export type { UnknownTasks } from "./src/client/known_tasks.ts";
export { Dyrygent, type DyrygentOptions } from "./src/dyrygent.ts";
export type { Cause, Ending, Ongoing, Operation, Telemetry } from "./src/telemetry.ts";
export type { Measurement, Reading } from "./src/core/metrics.ts";
export type { TraceContext } from "./src/core/trace_context.ts";
export type { LogCall, TaskLogger } from "./src/worker/task_log.ts";
export type { LogLevel, LogLine } from "./src/core/task_log.ts";
export type { LogEvent, LogFields } from "./src/core/log_event.ts";
export type { Log } from "./src/ports.ts";
