/** The namespace that a command line means: opened as those who made it opened it. */
import process from "node:process";
import type { NatsConnection } from "@nats-io/nats-core";
import { NotFoundError } from "../core/errors.ts";
import { quote } from "../core/ids.ts";
import type { Codec } from "../core/sealing.ts";
import { Dyrygent, type DyrygentOptions } from "../dyrygent.ts";
import { findNamespace } from "../nats/found.ts";
import type { Asked, Command, Values } from "./command.ts";
import { connectTo, resolved } from "./connection.ts";
import type { Where } from "./context_file.ts";
import { UsageError } from "./exit.ts";
import { loadModule } from "./module.ts";

/** @throws {NotFoundError} when there is none, and the command is not one that makes it */
export async function openFor(
  command: Command,
  values: Values,
  { server, telemetry }: Parameters<Asked["open"]>[0] = {},
): Promise<{ app: Dyrygent; nc: NatsConnection }> {
  const codec = await codecOf(values["codec"] as string | undefined);
  const where = server === undefined ? values : { ...values, server };
  const nc = await connectTo(resolved(where as Where, process.env));
  const namespace = (values["namespace"] as string | undefined) ??
    process.env["DYRYGENT_NAMESPACE"] ?? "dyrygent";
  try {
    const found = await foundOptions(nc, namespace, command);
    const own: DyrygentOptions = {
      namespace,
      ...(codec === undefined ? {} : { codec }),
      ...(telemetry === undefined ? {} : { telemetry }),
    };
    return { app: await Dyrygent.open(nc, { ...found, ...own }), nc };
  } catch (error) {
    await nc.close();
    throw error;
  }
}

async function foundOptions(
  nc: NatsConnection,
  namespace: string,
  { serves, creates }: Command,
): Promise<DyrygentOptions> {
  const found = await findNamespace(nc, namespace, { lanes: serves === true });
  if (found !== undefined) {
    const { replicas, storage, tickLeaseMs, taskLeaseMs } = found;
    return {
      replicas,
      storage,
      ...(tickLeaseMs === undefined ? {} : { tickLease: tickLeaseMs }),
      ...(taskLeaseMs === undefined ? {} : { taskLease: taskLeaseMs }),
    };
  }
  if (serves === true || creates === true) return {};
  throw new NotFoundError(`There is no namespace ${quote(namespace)} on ${nc.getServer()}`, {
    hint: "Say which one, with --namespace; the first worker, processor or submit makes it.",
  });
}

async function codecOf(path: string | undefined): Promise<Codec | undefined> {
  if (path === undefined) return undefined;
  const module = await loadModule(path);
  const codec = (module["codec"] ?? module["default"]) as Codec | undefined;
  if (typeof codec?.encode === "function" && typeof codec.decode === "function") return codec;
  throw new UsageError(`${path} exports no codec: export const codec = { encode, decode }.`);
}
