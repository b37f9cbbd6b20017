/** The names of files that are pictures, and of those that are hidden. */
import path from 'node:path';

const endings = (names: string): ReadonlySet<string> => new Set(names.split(' ').map((name) => `.${name}`));

/** The formats that are decoded, by the endings they go by. */
export const IMAGE_EXTENSIONS = endings('png jpg jpeg jpe jfif webp gif tif tiff avif');

/** Formats of pictures that are not decoded. */
const UNREAD_EXTENSIONS = endings(
  'bmp dib ppm pgm pbm pnm pam heic heif jxl jp2 j2k jpx tga ico psd svg exr hdr dds pcx dng cr2 nef arw',
);

const endingOf = (name: string): string => path.extname(name).toLowerCase();

export const isImageName = (name: string): boolean => IMAGE_EXTENSIONS.has(endingOf(name));

export const isUnreadImageName = (name: string): boolean => UNREAD_EXTENSIONS.has(endingOf(name));

/** Names that begin with a dot, and what archives of macOS hold beside each file. */
export const isHidden = (name: string): boolean =>
  name.split('/').some((part) => part.startsWith('.') || part === '__MACOSX');
