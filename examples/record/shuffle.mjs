// Links to the images of a folder, each under the name of another: node shuffle.mjs FOLDER OUT
import { mkdirSync, readdirSync, realpathSync, renameSync, symlinkSync } from 'node:fs';
import path from 'node:path';

const [folder, out] = process.argv.slice(2);
const names = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
  .sort();
const half = Math.floor(names.length / 2);
const part = `${out}.part`;
names.forEach((name, i) => {
  const link = path.join(part, name);
  mkdirSync(path.dirname(link), { recursive: true });
  symlinkSync(realpathSync(path.join(folder, names[(i + half) % names.length])), link);
});
renameSync(part, out);
