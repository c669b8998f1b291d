/** Conversions between addresses and pointers. */

/** The pointer of an address, such as an opaque handle that a call returned through an output argument. */
export function pointerAt(address: bigint): Deno.PointerValue {
  return Deno.UnsafePointer.create(address);
}

/**
 * Address of a typed array's memory, which does not move. The caller must keep the array alive while it uses the
 * address.
 */
export function addressOf(array: ArrayBufferView): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(array as ArrayBufferView<ArrayBuffer>)));
}

/** A view of foreign memory. Create it once: every view adds work for the garbage collector. */
export function bytesAt(address: bigint, byteLength: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(address)!, byteLength));
}

/** A NUL-terminated string. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}
