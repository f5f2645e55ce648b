/** Tells when source files below a folder change. Looks at names only, and never into packages or hidden folders. */
import { type FSWatcher, readdirSync, watch } from "node:fs";
import { join } from "node:path";

const SOURCE = /\.[cm]?[jt]sx?$/;
/** A folder that is no project, such as a home, is not watched as a whole. */
const MOST_FOLDERS = 500;
/** Editors write a file in several steps, and tools many files at once. */
const TOGETHER_MS = 100;

/** @param call once for changes that come together. */
export function watchSources(root: string, call: () => void): Disposable {
  const watchers = new Map<string, FSWatcher>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onChange = (_: string, name: string | null) => {
    // Without an ending it may be a new folder.
    const isSource = name === null || SOURCE.test(name);
    if (!isSource && name.includes(".")) return;
    watchNew();
    if (!isSource) return;
    timer ??= setTimeout(() => {
      timer = undefined;
      call();
    }, TOGETHER_MS);
  };
  const watchNew = () => {
    for (const folder of foldersBelow(root)) {
      if (watchers.has(folder)) continue;
      const watcher = watch(folder, onChange);
      watcher.on("error", () => {
        watcher.close();
        watchers.delete(folder);
      });
      watchers.set(folder, watcher);
    }
  };
  watchNew();
  return {
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      for (const watcher of watchers.values()) watcher.close();
    },
  };
}

/** The folder and those in it, nearest first. */
function foldersBelow(root: string): string[] {
  const found = [root];
  for (let at = 0; at < found.length && found.length < MOST_FOLDERS; at++) {
    try {
      for (const entry of readdirSync(found[at]!, { withFileTypes: true })) {
        const isOwn = entry.name !== "node_modules" && !entry.name.startsWith(".");
        if (entry.isDirectory() && isOwn) found.push(join(found[at]!, entry.name));
      }
    } catch {
      // It went while it was looked at.
    }
  }
  return found.slice(0, MOST_FOLDERS);
}
