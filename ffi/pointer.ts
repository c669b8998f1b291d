/** Addresses as numbers and as pointers. */

/** The pointer of an address, such as an opaque handle that a call wrote to a slot. */
export function pointerAt(address: bigint): Deno.PointerValue {
  return Deno.UnsafePointer.create(address);
}

/** The address of a typed array's memory, which does not move; the array must be kept as long as the address. */
export function addressOf(array: ArrayBufferView<ArrayBuffer>): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(array)));
}

/** A view of foreign memory. Make it once: every view costs time when it is collected. */
export function bytesAt(address: bigint, byteLength: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, byteLength));
}

/** A string as C has it. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}
