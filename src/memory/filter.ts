/** Subject filters as NATS has them: `*` is one token, `>` is one or more at the end. */
export function filterOf(filter: string): (key: string) => boolean {
  if (!/[*>]/.test(filter)) return (key) => key === filter;
  const wanted = filter.split(".");
  const isOpen = wanted.at(-1) === ">";
  if (isOpen) wanted.pop();
  return (key) => {
    // Token by token, without a list of them: a log is asked about each of its keys.
    let at = 0;
    for (const want of wanted) {
      if (at > key.length) return false;
      const dot = key.indexOf(".", at);
      const end = dot < 0 ? key.length : dot;
      const isSame = want === "*" || (end - at === want.length && key.startsWith(want, at));
      if (!isSame) return false;
      at = end + 1;
    }
    return isOpen ? at <= key.length : at > key.length;
  };
}
