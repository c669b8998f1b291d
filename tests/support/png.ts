/** Reads the pixels of a screenshot: 8-bit PNG without interlacing, RGB or RGBA. */
import { inflateSync } from "node:zlib";

/** Pixels of an image. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** (height, width): red, green and blue as one number. */
  readonly colours: Uint32Array;
}

/** Decodes a PNG according to the section on filtering of its specification. */
export function decodePng(png: Uint8Array): Pixels {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const [width, height, channels] = [view.getUint32(16), view.getUint32(20), png[25] === 6 ? 4 : 3];
  const packed: Uint8Array[] = [];
  for (let at = 8; at < png.length; at += 12 + view.getUint32(at)) {
    if (view.getUint32(at + 4) === 0x49444154) packed.push(png.subarray(at + 8, at + 8 + view.getUint32(at)));
  }
  const bytes = inflateSync(Uint8Array.from(packed.flatMap((part) => [...part])));
  const stride = width * channels;
  const colours = new Uint32Array(width * height);
  let above = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    const filter = bytes[y * (stride + 1)];
    const line = Uint8Array.from(bytes.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1)));
    for (let i = 0; i < stride; i++) {
      const left = i < channels ? 0 : line[i - channels];
      const corner = i < channels ? 0 : above[i - channels];
      line[i] += [0, left, above[i], (left + above[i]) >> 1, paeth(left, above[i], corner)][filter];
    }
    for (let x = 0; x < width; x++) {
      const at = x * channels;
      colours[y * width + x] = line[at] << 16 | line[at + 1] << 8 | line[at + 2];
    }
    above = line;
  }
  return { width, height, colours };
}

function paeth(left: number, above: number, corner: number): number {
  const estimate = left + above - corner;
  const [a, b, c] = [left, above, corner].map((value) => Math.abs(estimate - value));
  return a <= b && a <= c ? left : b <= c ? above : corner;
}
