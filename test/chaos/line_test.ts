/** Lines that `npm run chaos` breaks: nothing is lost or reordered but what a cut loses. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Line } from "../../chaos/line.ts";
import { eventually } from "../nats/server.ts";

const test = suite("a line");

interface Ends extends AsyncDisposable {
  readonly line: Line;
  readonly near: Socket;
  /**
   * What has arrived at the far end, and back at the near one: the far end answers with what it
   * hears.
   */
  readonly heard: { far: string; near: string };
}

async function connected(): Promise<Ends> {
  const heard = { far: "", near: "" };
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (data: Uint8Array) => {
      heard.far += new TextDecoder().decode(data);
      socket.write(data);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const line = await Line.to((server.address() as AddressInfo).port);
  const near = connect({ host: "127.0.0.1", port: line.port });
  near.on("error", () => {});
  near.on("data", (data: Uint8Array) => heard.near += new TextDecoder().decode(data));
  await once(near, "connect");
  return {
    line,
    near,
    heard,
    async [Symbol.asyncDispose]() {
      near.destroy();
      line.close();
      server.close();
      await once(server, "close");
    },
  };
}

test("what is held comes when it is healed, in its order", async () => {
  await using ends = await connected();
  const { line, near, heard } = ends;
  near.write("a");
  await eventually("it is answered", () => heard.near === "a");
  line.hold("out");
  for (const text of "bcd") near.write(text);
  line.slow(20);
  near.write("e");
  assert.is(heard.far, "a");
  line.heal();
  near.write("f");
  await eventually("all has come", () => heard.near === "abcdef" || heard.near);
});

test("one direction can be held alone", async () => {
  await using ends = await connected();
  const { line, near, heard } = ends;
  near.write("a");
  await eventually("it is answered", () => heard.near === "a");
  line.hold("in");
  near.write("b");
  await eventually("it arrives", () => heard.far === "ab");
  assert.is(heard.near, "a");
  line.heal();
  await eventually("the answer comes", () => heard.near === "ab");
});

test("a slow line keeps the order when it gets faster", async () => {
  await using ends = await connected();
  const { line, near, heard } = ends;
  line.slow(100);
  near.write("a");
  // Sent while the first is on its way.
  await eventually("it was sent", () => near.bytesWritten === 1);
  line.slow(1);
  near.write("b");
  await eventually("both come back", () => heard.near === "ab" || heard.near);
});

test("a cut line ends what is connected, and refuses until it is healed", async () => {
  await using ends = await connected();
  const { line, near } = ends;
  const closed = once(near, "close");
  line.cut();
  await closed;
  const refused = connect({ host: "127.0.0.1", port: line.port });
  refused.on("error", () => {});
  await once(refused, "close");
  line.heal();
  const again = connect({ host: "127.0.0.1", port: line.port });
  let answer = "";
  again.on("data", (data: Uint8Array) => answer += new TextDecoder().decode(data));
  again.write("x");
  await eventually("it is answered", () => answer === "x");
  again.destroy();
});

test.run();
