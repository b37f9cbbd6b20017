/** Normalisation, and the activations that are operations of their own. */
import { op, operation } from '../value.js';
import { defineKernel } from './define.js';

defineKernel<{ epsilon: number }>('LayerNorm', ({ x }, { epsilon }) => operation('layerNorm', [x], { epsilon }));
defineKernel<{ groups: number; epsilon: number }>('GroupStandardise', ({ x }, { groups, epsilon }) =>
  op('groupNorm', [x], { groups, epsilon }),
);
defineKernel<{ approximate: 'tanh' | 'none' }>('Gelu', ({ x }, { approximate }) =>
  op('gelu', [x], { approximation: approximate }),
);
defineKernel<{ approximate: 'tanh' | 'none' }>('GeluGradient', ({ x, dy }, { approximate }) =>
  operation('geluGradient', [x, dy], { approximation: approximate }),
);
defineKernel<{ steepness: number }>('Silu', ({ x }, { steepness }) => op('swish', [x], { steepness }));
