/**
 * The one thing that the library awaits outside of its ports is a digest. Where this is imported it is computed at once, so
 * that nothing happens at a time of its own and a seed always tells the same story.
 */
import { createHash } from "node:crypto";

Object.defineProperty(crypto.subtle, "digest", {
  value: (algorithm: string, data: Uint8Array) => {
    const digest = createHash(algorithm.replace("-", "").toLowerCase()).update(data).digest();
    return Promise.resolve(
      digest.buffer.slice(digest.byteOffset, digest.byteOffset + digest.length),
    );
  },
});
