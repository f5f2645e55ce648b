/** Arguments and results encrypted with AES-256-GCM, with keys that are rotated. The processor has no key at all. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { type Codec, CodecError, Dyrygent, task } from "nats-dyrygent";

/** Encrypts with the newest (last) key, decrypts with any. What it gives: the key's id (1 byte), the IV (12), the rest. */
async function aesGcm(keys: Record<number, Uint8Array<ArrayBuffer>>): Promise<Codec> {
  const imported = new Map<number, CryptoKey>();
  for (const [id, key] of Object.entries(keys)) {
    imported.set(
      Number(id),
      await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]),
    );
  }
  const newest = Math.max(...imported.keys());
  return {
    async encode(data) {
      const iv = crypto.getRandomValues(new Uint8Array(12));
      const [algorithm, key] = [{ name: "AES-GCM", iv }, imported.get(newest)!];
      const secret = await crypto.subtle.encrypt(algorithm, key, new Uint8Array(data));
      const parts = new Blob([Uint8Array.of(newest), iv, secret]);
      return new Uint8Array(await parts.arrayBuffer());
    },
    async decode(data) {
      const key = imported.get(data[0]!);
      if (key === undefined) throw new Error(`there is no key ${data[0]}`);
      const algorithm = { name: "AES-GCM", iv: data.slice(1, 13) };
      return new Uint8Array(await crypto.subtle.decrypt(algorithm, key, data.slice(13)));
    },
  };
}

const greet = task("greet", (name: string) => `Hello, ${name}`);
const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const open = (codec?: Codec) => Dyrygent.open(nc, { namespace: "example_encrypted", codec });

const first = crypto.getRandomValues(new Uint8Array(32)); // From your key store, of course.
const second = crypto.getRandomValues(new Uint8Array(32));
const before = await open(await aesGcm({ 1: first }));
const rotated = await open(await aesGcm({ 1: first, 2: second }));

// Workers get the new key before anybody encrypts with it.
const worker = rotated.worker({ tasks: [greet] });
const processor = (await open()).processor();
await Promise.all([worker.start(), processor.start()]);

const old = await before.submit(greet.s("Ada"));
console.log(await rotated.run(old.id).result());
const recent = await rotated.submit(greet.s("Grace"));
console.log(await recent.result());
const refused = await before.run(recent.id).result().catch((error) => error);
console.log(refused instanceof CodecError, refused.message);
await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// Hello, Ada
// Hello, Grace
// true Cannot read a sealed value: the codec's decode failed: Error: there is no key 2
