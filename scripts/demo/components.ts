/** Strongly connected components: packages that need each other are one. Tarjan's algorithm, without recursion. */

/**
 * @param dependencies of each vertex.
 * @returns the components, each after all that it depends on; members in ascending order.
 */
export function components(dependencies: readonly (readonly number[])[]): number[][] {
  const found: number[][] = [];
  /** When a vertex was first met, from 1; 0: not yet. */
  const met = new Int32Array(dependencies.length);
  /** The earliest vertex on the stack that can be reached from it. */
  const low = new Int32Array(dependencies.length);
  const onStack = new Uint8Array(dependencies.length);
  const stack: number[] = [];
  const path: { readonly vertex: number; next: number }[] = [];
  let clock = 0;

  const enter = (vertex: number) => {
    met[vertex] = low[vertex] = ++clock;
    stack.push(vertex);
    onStack[vertex] = 1;
    path.push({ vertex, next: 0 });
  };
  const leave = (vertex: number) => {
    path.pop();
    const parent = path.at(-1)?.vertex;
    if (parent !== undefined) low[parent] = Math.min(low[parent]!, low[vertex]!);
    if (low[vertex] !== met[vertex]) return;
    const members = stack.splice(stack.lastIndexOf(vertex));
    for (const member of members) onStack[member] = 0;
    found.push(members.sort((a, b) => a - b));
  };

  for (let start = 0; start < dependencies.length; start++) {
    if (met[start] === 0) enter(start);
    for (let step = path.at(-1); step !== undefined; step = path.at(-1)) {
      const { vertex } = step;
      const dependency = dependencies[vertex]![step.next++];
      if (dependency === undefined) leave(vertex);
      else if (met[dependency] === 0) enter(dependency);
      else if (onStack[dependency]) low[vertex] = Math.min(low[vertex]!, met[dependency]!);
    }
  }
  return found;
}
