/** Subject filters as NATS has them: `*` is one token, `>` is one or more at the end. */
export function filterOf(filter: string): (key: string) => boolean {
  if (!/[*>]/.test(filter)) return (key) => key === filter;
  const wanted = filter.split(".");
  return (key) => {
    const tokens = key.split(".");
    for (const [i, want] of wanted.entries()) {
      if (want === ">") return tokens.length > i;
      if (i >= tokens.length || (want !== "*" && want !== tokens[i])) return false;
    }
    return tokens.length === wanted.length;
  };
}
