/** The worker's half of the reference: take a message, create its outcome, acknowledge. */
import { createInbox, headers, type Msg, type NatsConnection } from "@nats-io/nats-core";

const BATCH = 1_000;

/** Works until its connection is closed. */
export async function workForReference(nc: NatsConnection, name: string): Promise<void> {
  const free = headers();
  free.set("Nats-Expected-Last-Subject-Sequence", "0");
  const waiting = new Map<string, Msg>();
  const replies = createInbox();
  const deliveries = createInbox();
  let left = 0;
  const pull = () => {
    left += BATCH;
    nc.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${name}_T.worker`,
      JSON.stringify({ batch: BATCH, expires: 300e9 }),
      { reply: deliveries },
    );
  };
  let next = 0;
  nc.subscribe(`${replies}.*`, {
    callback: (_, reply) => {
      const token = reply.subject.slice(replies.length + 1);
      nc.publish(waiting.get(token)!.reply!, "+ACK");
      waiting.delete(token);
    },
  });
  nc.subscribe(deliveries, {
    callback: (_, msg) => {
      if (msg.subject === deliveries) return;
      if (--left < BATCH / 2) pull();
      const token = (next++).toString(36);
      waiting.set(token, msg);
      JSON.parse(msg.string());
      nc.publish(`$KV.${name}.${msg.subject.slice(name.length + 3)}`, "null", {
        reply: `${replies}.${token}`,
        headers: free,
      });
    },
  });
  pull();
  await nc.flush();
}
