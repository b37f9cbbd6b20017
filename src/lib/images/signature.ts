/** The format of a picture by its first bytes: only known formats are handed to a decoder. */

export type PictureFormat = 'png' | 'jpeg' | 'gif' | 'webp' | 'tiff' | 'avif';

/** How many of the first bytes are looked at. */
export const SIGNATURE_BYTES = 64;

const latin = (text: string): number[] => [...text].map((char) => char.charCodeAt(0));

const STARTS: readonly (readonly [PictureFormat, readonly number[]])[] = [
  ['png', [0x89, ...latin('PNG\r\n'), 0x1a, 0x0a]],
  ['jpeg', [0xff, 0xd8, 0xff]],
  ['gif', latin('GIF87a')],
  ['gif', latin('GIF89a')],
  ['tiff', latin('II*\0')],
  ['tiff', latin('MM\0*')],
  ['tiff', latin('II+\0')],
  ['tiff', latin('MM\0+')],
];

/** The format of a file that begins so; undefined for any other. */
export function pictureFormat(start: Uint8Array): PictureFormat | undefined {
  const found = STARTS.find(([, bytes]) => bytes.every((byte, i) => start[i] === byte));
  if (found) return found[0];
  const text = (from: number, to: number): string => String.fromCharCode(...start.subarray(from, to));
  if (text(0, 4) === 'RIFF' && text(8, 12) === 'WEBP') return 'webp';
  // Its brand, or one of those that it is compatible with.
  return text(4, 8) === 'ftyp' && /avi[fs]/.test(text(8, SIGNATURE_BYTES)) ? 'avif' : undefined;
}
