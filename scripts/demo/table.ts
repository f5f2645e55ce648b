/** Plain text for terminals: tables, lists, sizes. */

/** Columns after the first are numbers: they stand to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length))
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
      )
      .join("  ")
      .trimEnd();
  return [line(head), widths.map((width) => "─".repeat(width)).join("  "), ...rows.map(line)];
}

const WIDTH = 100;

/** A paragraph: the title, then the items, indented below it where the line ends. None for an empty list. */
export function listText(title: string, items: readonly string[], listed = 12): string[] {
  if (items.length === 0) return [];
  const shown = items.slice(0, listed);
  if (items.length > listed) shown.push(`${items.length - listed} more`);
  const lines = [`${title}:`];
  for (const [i, item] of shown.entries()) {
    const piece = i < shown.length - 1 ? ` ${item},` : ` ${item}`;
    if (lines.at(-1)!.length + piece.length <= WIDTH) lines.push(lines.pop() + piece);
    else lines.push(` ${piece}`);
  }
  return lines;
}

export function bytesText(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  const [unit, size] = bytes < 1_000_000 ? ["kB", 1_000] : ["MB", 1_000_000];
  return `${(bytes / size).toFixed(1)} ${unit}`;
}
