/**
 * The early stop of HASTE (arXiv 2505.16792): features help at first and hinder later, so that they are followed only
 * up to a step. Its other half, the alignment of attention maps, is not here. From the paper; not checked against code.
 */
import { count, fields, type ShapeOf } from '../formats/json-shape.js';
import { integer } from '../options/option.js';
import { options } from '../options/table.js';
import { method } from './method.js';

const SETTINGS = fields({ until: count });

export const haste = method({
  name: 'haste',
  options: options({
    alignUntil: integer('--align-until <step>', 'features are followed up to this step only (HASTE)', {
      min: 1,
      needs: '--lambda',
    }),
  }),
  // The step for L and XL; for B it is 100,000.
  presets: { haste: { lambda: 0.5, 'align-until': 250_000 } },
  settings: SETTINGS,
  isOn: ({ alignUntil }) => alignUntil !== undefined,
  settle: ({ alignUntil }): ShapeOf<typeof SETTINGS> => ({ until: alignUntil! }),
  follows: ({ until }, step) => step < until,
});
