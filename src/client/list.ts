/** The runs there are, as their views show them. */
import { refuseUnknown } from "../core/options.ts";
import { readStatus, type RunStatus } from "../core/records.ts";
import type { WorkflowState } from "../core/scheduler.ts";
import { withReadablePayload } from "../core/sealing.ts";
import type { Ports } from "../ports.ts";

export interface ListOptions {
  /** Only runs in this state. @default all */
  state?: WorkflowState;
  /** Only runs of workflows with this name. @default all */
  name?: string;
}

export async function* list(
  ports: Ports,
  options: ListOptions = {},
): AsyncGenerator<RunStatus, void, void> {
  refuseUnknown("list option", options, ["state", "name"]);
  for await (const { data } of ports.views.list("wf.")) {
    const status = readStatus(data);
    if (status === undefined) continue;
    if (options.state !== undefined && status.state !== options.state) continue;
    if (options.name !== undefined && status.name !== options.name) continue;
    yield await withReadablePayload(ports.codec, status);
  }
}
