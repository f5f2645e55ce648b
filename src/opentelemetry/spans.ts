/**
 * What spans are called and what they say: a contract (docs/guide/observability.md). The names of attributes are those of
 * OpenTelemetry's conventions for messaging where one fits, else they begin with "dyrygent".
 */
import { type Attributes, SpanKind } from "@opentelemetry/api";
import type { Operation } from "../telemetry.ts";

/** `<operation> <task>`, and of a whole run its workflow's name. */
export function nameOf(operation: Operation): string {
  return `${operation.is} ${"task" in operation ? operation.task : operation.workflow}`;
}

export function kindOf({ is }: Operation): SpanKind {
  switch (is) {
    case "submit":
    case "dispatch":
      return SpanKind.PRODUCER;
    case "execute":
      return SpanKind.CONSUMER;
    case "conduct":
    case "wait":
      return SpanKind.INTERNAL;
  }
  return is satisfies never;
}

export function attributesOf(operation: Operation): Attributes {
  const { is, run, workflow } = operation;
  const ofRun = {
    "messaging.system": "nats",
    "messaging.message.conversation_id": run,
    "dyrygent.workflow.name": workflow,
  };
  switch (is) {
    case "submit":
      return { ...ofRun, ...operationOf(is, "send"), "dyrygent.workflow.nodes": operation.nodes };
    case "conduct":
      return ofRun;
    case "dispatch":
      return { ...ofRun, ...operationOf(is, "send"), ...ofAttempt(operation) };
    case "wait":
      return { ...ofRun, ...ofAttempt(operation) };
    case "execute":
      return {
        ...ofRun,
        ...operationOf(is, "process"),
        ...ofAttempt(operation),
        "messaging.client.id": operation.worker,
        "dyrygent.deliveries": operation.deliveries,
      };
  }
  return operation satisfies never;
}

function operationOf(name: string, type: "send" | "process"): Attributes {
  return { "messaging.operation.name": name, "messaging.operation.type": type };
}

function ofAttempt(
  { run, node, attempt, queue, lane, task }: Extract<Operation, { readonly task: string }>,
): Attributes {
  return {
    "messaging.destination.name": queue,
    "messaging.message.id": `${run}.${node}.${attempt}`,
    "dyrygent.task.name": task,
    "dyrygent.node": node,
    "dyrygent.attempt": attempt,
    "dyrygent.lane": lane,
  };
}
