/**
 * Reads every recorded outcome of a run from the server, with the server's own times, by the NATS client alone: nothing
 * of the library is used here, so that what it claims can be checked.
 */
import { createInbox, type Msg, type NatsConnection } from "@nats-io/nats-core";
import { AckPolicy, DeliverPolicy, jetstreamManager } from "@nats-io/jetstream";

/** Nanoseconds since 1970 by the server's clock: more digits than a number holds. */
export interface Outcome {
  readonly node: number;
  readonly attempt: number;
  readonly succeeded: boolean;
  /** When the server stored the task message. */
  readonly sentNs: bigint;
  /** When the server stored the outcome. */
  readonly recordedNs: bigint;
  readonly worker: string;
}

const QUIET_MS = 10_000;

/** @throws {Error} when an outcome has another form, or the server stops in between. */
export async function readOutcomes(
  nc: NatsConnection,
  namespace: string,
  run: string,
): Promise<Outcome[]> {
  const stream = `KV_${namespace}`;
  const jsm = await jetstreamManager(nc);
  const inbox = createInbox();
  const outcomes: Outcome[] = [];
  let quiet: ReturnType<typeof setTimeout> | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const expectMore = () => {
        clearTimeout(quiet);
        quiet = setTimeout(
          () => reject(new Error(`the stream ${stream} gave nothing more for ${QUIET_MS} ms`)),
          QUIET_MS,
        );
      };
      const take = (msg: Msg) => {
        const { timeNs, pending } = placeOf(msg);
        outcomes.push(outcomeOf(msg, timeNs));
        if (pending === 0) resolve();
        else expectMore();
      };
      nc.subscribe(inbox, {
        callback: (error, msg) => {
          try {
            if (error !== null) throw error;
            take(msg);
          } catch (error) {
            reject(error);
          }
        },
      });
      expectMore();
      jsm.consumers.add(stream, {
        ack_policy: AckPolicy.None,
        deliver_policy: DeliverPolicy.All,
        deliver_subject: inbox,
        filter_subject: `$KV.${namespace}.${run}.r.>`,
        headers_only: true,
        mem_storage: true,
      }).then((info) => info.num_pending + info.delivered.stream_seq === 0 && resolve(), reject);
    });
  } finally {
    clearTimeout(quiet);
  }
  return outcomes;
}

/** What the reply subject of a message from a stream says: `$JS.ACK[.domain.account].stream.consumer.1.2.3.time.pending`. */
function placeOf(msg: Msg): { timeNs: bigint; pending: number } {
  const parts = msg.reply?.split(".") ?? [];
  const [timeNs, pending] = parts.length > 9 ? parts.slice(9, 11) : parts.slice(7, 9);
  if (timeNs === undefined || pending === undefined) {
    throw new Error(`${msg.subject} came without its place in the stream: ${msg.reply}`);
  }
  return { timeNs: BigInt(timeNs), pending: Number(pending) };
}

function outcomeOf(msg: Msg, recordedNs: bigint): Outcome {
  const [node, attempt] = msg.subject.split(".").slice(-2).map(Number);
  const header = msg.headers?.get("Dyrygent-Outcome");
  const match = /^1 (succeeded|failed) \d+ \d+ (\d+) (\S+)$/.exec(header ?? "");
  if (node === undefined || attempt === undefined || match === null) {
    throw new Error(`${msg.subject} is no outcome: ${header}`);
  }
  return {
    node,
    attempt,
    succeeded: match[1] === "succeeded",
    sentNs: BigInt(match[2]!),
    recordedNs,
    worker: match[3]!,
  };
}
