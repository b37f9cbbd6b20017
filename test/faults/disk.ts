/** Verbs whose disk refuses: what they say, and what they leave. */
import os from 'node:os';
import { EXIT } from '../../src/lib/errors.js';
import type { Ground } from './ground.js';
import { type Disturbed, NOTHING, toldOf, type Undisturbed, unreached } from './kills.js';
import { type Fault, faultEnvironment } from './shim.js';
import { differences, litter, notWhole, readTree } from './tree.js';
import type { WritingVerb } from './verbs.js';

const { ENOSPC, EDQUOT, EIO } = os.constants.errno;

/** How a disk refuses. */
export const REFUSALS: readonly (Omit<Fault, 'at'> & { name: string; reason: RegExp })[] = [
  { name: 'full', mode: 'full', number: ENOSPC, reason: /no space left on the device|ENOSPC/ },
  { name: 'over its quota', mode: 'full', number: EDQUOT, reason: /disk quota exceeded|EDQUOT/ },
  { name: 'full for once', mode: 'fail', number: ENOSPC, reason: /no space left on the device|ENOSPC/ },
  { name: 'broken for once', mode: 'fail', number: EIO, reason: /the device reports an error|EIO/ },
];

/** The call that was refused is one that only tidies up: what it was to remove stays, and nothing is lost. */
const isTidying = (where: string): boolean => /^(unlink|unlinkat|rmdir) /.test(where);

export async function refuseAt(
  ground: Ground,
  verb: WritingVerb,
  { tree }: Undisturbed,
  shim: string,
  fault: Fault & { reason: RegExp },
): Promise<Disturbed> {
  ground.clear();
  const outcome = await ground.run(verb, faultEnvironment(shim, fault, ground.told, ground.folder));
  const where = toldOf(ground);
  if (where === '') return unreached(outcome);
  const { code, signal, stderr } = outcome;
  const problems: string[] = [];
  const dispensable = verb.dispensable ?? NOTHING;
  if (code === EXIT.ok) {
    const left = differences(readTree(ground.cwd), tree).filter((file) => !dispensable.test(file.slice(1)));
    if (left.length > 0 && !isTidying(where)) problems.push(`ends well, with other files: ${left.join(' ')}`);
  } else if (code !== EXIT.unavailable) problems.push(`ends with ${code ?? signal}: ${stderr}`);
  else {
    if (!fault.reason.test(stderr)) problems.push(`does not say why: ${stderr}`);
    if (!namesFile(stderr, verb)) problems.push(`names no file: ${stderr}`);
  }
  for (const file of notWhole(ground.cwd, tree, verb.partial ?? NOTHING)) problems.push(`${file} is not whole`);
  const left = isTidying(where) ? [] : litter(readTree(ground.cwd));
  if (left.length > 0) problems.push(`left behind: ${left.join(' ')}`);
  return { happened: true, where, problems };
}

/** Whether what is said names something that the verb writes. */
function namesFile(stderr: string, { args }: WritingVerb): boolean {
  const outputs = args.filter((_, i) =>
    /^(-o|--out|--rest|--png|--grid|--save-stats|--fit-statistics)$/.test(args[i - 1] ?? ''),
  );
  return [...outputs, 'ckpt', 'run/hf', '.repa/plugins'].some((output) => stderr.includes(output.replace(/\/$/, '')));
}
