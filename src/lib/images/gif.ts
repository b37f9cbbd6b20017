/**
 * The first frame of a GIF as Pillow shows it: the colours of its palette, those of transparent pixels too. The decoder
 * leaves these black, and reads all frames of an animation before it gives the first.
 * Layout: GIF89a specification, sections 18 to 23.
 */
import type { RgbImage } from './rgb-image.js';

const EXTENSION = 0x21;
const GRAPHIC_CONTROL = 0xf9;
const IMAGE = 0x2c;
const TRAILER = 0x3b;
const HAS_TABLE = 0x80;
const HAS_TRANSPARENCY = 1;

export interface GifFrame {
  /** A GIF of this frame alone, as large as the frame, without transparency. */
  readonly bytes: Uint8Array;
  /** Of the whole picture. */
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly top: number;
  /** What is around the frame. */
  readonly fill: readonly [red: number, green: number, blue: number];
}

/** @throws Error when the file ends before its first frame does, or has none */
export function firstGifFrame(gif: Uint8Array): GifFrame {
  const view = new DataView(gif.buffer, gif.byteOffset, gif.byteLength);
  const need = (end: number): void => {
    if (end > gif.length) throw new Error(`truncated at byte ${gif.length}`);
  };
  need(13);
  const tableBytes = (flags: number): number => (flags & HAS_TABLE ? 3 * 2 ** ((flags & 7) + 1) : 0);
  let table = 13;
  let at = 13 + tableBytes(gif[10]);
  const skipBlocks = (): void => {
    for (need(at + 1); gif[at] !== 0; need(at + 1)) at += 1 + gif[at];
    at++;
  };
  let control: number | undefined;
  for (need(at + 1); gif[at] === EXTENSION; need(at + 1)) {
    need(at + 8);
    if (gif[at + 1] === GRAPHIC_CONTROL) control = at + 3;
    at += 2;
    skipBlocks();
  }
  if (gif[at] !== IMAGE) throw new Error('no image in it');
  const descriptor = at;
  need(at + 10);
  const [left, top, width, height] = [1, 3, 5, 7].map((offset) => view.getUint16(descriptor + offset, true));
  const local = tableBytes(gif[at + 9]);
  if (local > 0) table = at + 10;
  at += 10 + local + 1;
  skipBlocks();
  const transparent = control !== undefined && gif[control] & HAS_TRANSPARENCY ? gif[control + 3] : 0;
  const bytes = new Uint8Array(at + 1);
  bytes.set(gif.subarray(0, at));
  bytes[at] = TRAILER;
  if (control !== undefined) bytes[control] &= ~HAS_TRANSPARENCY;
  bytes.set(gif.subarray(descriptor + 5, descriptor + 9), 6); // the screen is as large as the frame,
  bytes.fill(0, descriptor + 1, descriptor + 5); // which begins in its corner
  const entry = table + 3 * transparent;
  return {
    bytes,
    width: Math.max(view.getUint16(6, true), left + width),
    height: Math.max(view.getUint16(8, true), top + height),
    left,
    top,
    fill: [gif[entry] ?? 0, gif[entry + 1] ?? 0, gif[entry + 2] ?? 0],
  };
}

/** The picture that a decoded frame is part of. */
export function placeFrame(frame: RgbImage, { width, height, left, top, fill }: GifFrame): RgbImage {
  if (frame.width === width && frame.height === height) return frame;
  const data = new Uint8Array(width * height * 3);
  data.set(data.length > 0 ? fill : []);
  for (let done = 3; done < data.length; done *= 2) data.copyWithin(done, 0, done);
  for (let row = 0; row < frame.height; row++) {
    const line = frame.data.subarray(row * frame.width * 3, (row + 1) * frame.width * 3);
    data.set(line, ((top + row) * width + left) * 3);
  }
  return { width, height, data };
}
