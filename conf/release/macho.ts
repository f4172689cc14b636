/**
 * The signature of an executable for macOS. For Apple silicon the runtime's compiler signs what it makes, ad hoc, as these machines
 * demand; for Intel it leaves the runtime's own signature, which is not of these bytes any more: none is better than a wrong one.
 */

const MAGIC_64 = 0xfeedfacf;
const HEADER_BYTES = 32;
const LC_CODE_SIGNATURE = 0x1d;

/** The same without its signature, in a new array; as it was if it has none. Throws if it is no such executable. */
export function withoutSignature(executable: Uint8Array): Uint8Array {
  const bytes = executable.slice();
  const view = new DataView(bytes.buffer);
  if (view.getUint32(0, true) !== MAGIC_64) throw new Error("not an executable of a 64-bit macOS");
  const count = view.getUint32(16, true);
  const size = view.getUint32(20, true);
  for (let i = 0, at = HEADER_BYTES; i < count; i++) {
    const length = view.getUint32(at + 4, true);
    if (view.getUint32(at, true) === LC_CODE_SIGNATURE) {
      const end = HEADER_BYTES + size;
      bytes.copyWithin(at, at + length, end);
      bytes.fill(0, end - length, end);
      view.setUint32(16, count - 1, true);
      view.setUint32(20, size - length, true);
      return bytes;
    }
    at += length;
  }
  return bytes;
}
