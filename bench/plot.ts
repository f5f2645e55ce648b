/** Measurements as SVG, for documents. Pure text; draws no more than these need. */
const WIDTH = 640;
const HEIGHT = 320;
const LEFT = 70;
const RIGHT = 70;
const TOP = 40;
const BOTTOM = 50;

export interface Series {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
  /** Which of the two scales it belongs to. */
  readonly axis: "left" | "right";
}

export interface Plot {
  readonly title: string;
  readonly x: string;
  readonly left: string;
  readonly right?: string;
  readonly isLogX: boolean;
  readonly series: readonly Series[];
}

const COLOURS = ["#27ae60", "#2980b9", "#c0392b"];

export function svgOf({ title, x, left, right, isLogX, series }: Plot): string {
  const xs = series.flatMap(({ points }) => points.map((point) => point.x));
  const [leastX, mostX] = [Math.min(...xs), Math.max(...xs)];
  const scale = (value: number) => isLogX ? Math.log10(value) : value;
  const atX = (value: number) =>
    LEFT + (scale(value) - scale(leastX)) / (scale(mostX) - scale(leastX) || 1) *
      (WIDTH - LEFT - RIGHT);
  const mostOf = (axis: Series["axis"]) =>
    niceAbove(
      Math.max(
        0,
        ...series.flatMap((one) => one.axis === axis ? one.points.map(({ y }) => y) : []),
      ),
    );
  const most = { left: mostOf("left"), right: mostOf("right") };
  const atY = (value: number, axis: Series["axis"]) =>
    HEIGHT - BOTTOM - value / (most[axis] || 1) * (HEIGHT - TOP - BOTTOM);
  const shares = [0, 0.25, 0.5, 0.75, 1];
  const ticks = shares.flatMap((share) => {
    const y = atY(share * most.left, "left");
    return [
      `<line x1="${LEFT}" y1="${y}" x2="${WIDTH - RIGHT}" y2="${y}" stroke="#ddd"/>`,
      text(LEFT - 8, y + 4, label(share * most.left), "end"),
      ...(right === undefined
        ? []
        : [text(WIDTH - RIGHT + 8, y + 4, label(share * most.right), "start")]),
    ];
  });
  const marks =
    (isLogX ? [...new Set(xs)] : shares.map((share) => leastX + share * (mostX - leastX)))
      .map((value) => text(atX(value), HEIGHT - BOTTOM + 18, label(value), "middle"));
  const lines = series.flatMap(({ name, points, axis }, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const path = points.map((point) => `${round(atX(point.x))},${round(atY(point.y, axis))}`);
    return [
      `<polyline points="${path.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      text(LEFT + 10, TOP + 14 + 16 * i, name, "start", colour),
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(WIDTH / 2, 20, title, "middle"),
    ...ticks,
    ...marks,
    text(WIDTH / 2, HEIGHT - 10, x, "middle"),
    text(LEFT - 8, TOP - 10, left, "end"),
    ...(right === undefined ? [] : [text(WIDTH - RIGHT + 8, TOP - 10, right, "start")]),
    ...lines,
    "</svg>\n",
  ].join("\n");
}

function text(x: number, y: number, content: string, anchor: string, colour = "#333"): string {
  return `<text x="${round(x)}" y="${
    round(y)
  }" text-anchor="${anchor}" fill="${colour}">${content}</text>`;
}

/** 1, 2 or 5 and zeros. */
function niceAbove(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((nice) => nice >= value)!;
}

function label(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString("en");
}

const round = (value: number): number => Math.round(value * 10) / 10;
