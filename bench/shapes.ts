/** The tasks and workflows that are measured. Bodies are as large as the reference's. */
import { chain, chord, task, Workflow } from "nats-dyrygent";

const TEXT = "x".repeat(120);
const LAYER = 500;

/** What tasks tell the process they run in. */
export const onTask = {
  began: () => {},
  body: () => {},
};

export const noop = task("noop", (_text?: unknown) => {
  onTask.began();
  return null;
});
const gather = task("gather", (results: unknown[]) => {
  onTask.body();
  return results.length;
});
export const tasks = [noop, gather];

/** `n` side by side and one that waits for all: order only, how fast results are gathered is another question. */
export function fan(n: number): Workflow {
  const wf = new Workflow("fan");
  const nodes = Array.from({ length: n }, () => wf.call(noop, TEXT));
  wf.call(gather, []).after(nodes);
  return wf;
}

export const chainOf = (n: number) => chain(Array.from({ length: n }, () => noop.si(TEXT)));

/** The body takes all results. */
export const chordOf = (n: number) =>
  chord(Array.from({ length: n }, () => noop.si(TEXT)), gather.s());

/** Layers of 500; each node waits for 1 to 5 nodes of the layer before. */
export function layered(nodes: number, random: () => number): Workflow {
  const wf = new Workflow("layered");
  const add = () => wf.call(noop, TEXT);
  let layer: ReturnType<typeof add>[] = [];
  while (wf.size < nodes) {
    layer = Array.from({ length: Math.min(LAYER, nodes - wf.size) }, () => {
      const node = add();
      for (let i = 0, most = 1 + Math.floor(random() * 5); i < most && layer.length > 0; i++) {
        node.after(layer[Math.floor(random() * layer.length)]!);
      }
      return node;
    });
  }
  return wf;
}

/** Four tasks: one, two side by side, one. */
export function diamond(): Workflow {
  const wf = new Workflow("diamond");
  const top = wf.call(noop, TEXT);
  const sides = [wf.call(noop, TEXT).after(top), wf.call(noop, TEXT).after(top)];
  wf.call(noop, TEXT).after(sides);
  return wf;
}

/** One task that nobody serves. */
export function waiting(): Workflow {
  const wf = new Workflow("waiting");
  wf.call(noop, TEXT).set({ queue: "nobody" });
  return wf;
}
