/** Bytes as text in base64, and back. Runtimes have it for binary strings only, which are made here in slices. */

/** What one call of `fromCharCode` takes; a multiple of three, so that slices can be joined. */
const SLICE = 24_576;

export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += SLICE) {
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + SLICE)));
  }
  return text;
}

/** @throws {DOMException} for what is not base64. */
export function fromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
