/**
 * An edge function for workerd (Cloudflare Workers): `fetch` submits workflows and says how they stand, `scheduled`
 * conducts what is due. No process stays up; the workers that run the tasks are elsewhere.
 */
import { wsconnect } from "@nats-io/nats-core";
import { Dyrygent, NotFoundError } from "nats-dyrygent";
import { order } from "./tasks.ts";

interface Env {
  /** Of the server's WebSocket listener: "wss://nats.example.com". */
  readonly NATS_URL: string;
  readonly NAMESPACE: string;
}

/** Each call has a connection of its own: what one request has opened, others may not use. */
async function withApp<T>(env: Env, use: (app: Dyrygent) => Promise<T>): Promise<T> {
  const nc = await wsconnect({ servers: env.NATS_URL });
  try {
    return await use(await Dyrygent.open(nc, { namespace: env.NAMESPACE }));
  } finally {
    await nc.close();
  }
}

/** POST /orders with `["apple", "pear"]`. */
async function submit(app: Dyrygent, request: Request): Promise<Response> {
  const { id } = await app.submit(order(await request.json()));
  return Response.json({ id }, { status: 202 });
}

/** GET /orders/<id> */
async function ask(app: Dyrygent, id: string): Promise<Response> {
  try {
    const run = app.run<number>(id);
    const { state } = await run.status();
    return Response.json(state === "SUCCESS" ? { state, result: await run.result() } : { state });
  } catch (error) {
    if (error instanceof NotFoundError) return new Response(error.message, { status: 404 });
    throw error;
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const [, orders, id] = new URL(request.url).pathname.split("/");
    if (orders !== "orders") return new Response("not here", { status: 404 });
    return await withApp(env, (app) => id ? ask(app, id) : submit(app, request));
  },

  /** By a cron trigger, once a minute say. */
  async scheduled(_event: unknown, env: Env): Promise<void> {
    const report = await withApp(env, (app) => app.processor().runOnce({ maxDuration: "20s" }));
    console.log(JSON.stringify(report));
  },
};
