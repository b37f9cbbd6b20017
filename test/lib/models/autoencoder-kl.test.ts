import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { DataError } from '../../../src/lib/errors.js';
import {
  autoencoderKLShapes,
  decode,
  downsampling,
  encode,
  inferAutoencoderKLConfig,
} from '../../../src/lib/models/autoencoder-kl.js';
import { matchWeights, toParameters } from '../../../src/lib/models/parameters.js';
import { fixtureWeights } from '../../fixture-weights.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

describe('the autoencoder of latent diffusion', () => {
  const weights = fixtureWeights('vae');
  const io = fixtureTensors('vae/io');
  const config = inferAutoencoderKLConfig(weights, 'vae');
  const load = () => toParameters(matchWeights(weights, autoencoderKLShapes(config), 'vae'));
  const input = (name: string) => {
    const { data, shape } = io.get(name)!;
    return tf.tensor(data, [...shape]);
  };
  const check = (actual: tf.Tensor, name: string) => {
    const { data, shape } = io.get(name)!;
    assert.deepEqual(actual.shape, shape);
    assertClose(actual.dataSync(), data, 3e-5 * largestMagnitude(data), name);
  };

  test('the architecture is inferred', () => {
    assert.deepEqual(config, {
      blockOutChannels: [32, 64, 64, 64],
      layersPerBlock: 2,
      latentChannels: 4,
      quantConv: true,
      postQuantConv: true,
      groups: 32,
    });
    assert.equal(downsampling(config), 8);
  });

  test('encodes as diffusers does', () => {
    const { mean, std } = encode(load(), config, input('x'));
    check(mean, 'mean');
    check(std, 'std');
  });

  test('encodes an oblong image', () => {
    const { mean, std } = encode(load(), config, input('x_48x80'));
    check(tf.concat([mean, tf.mul(tf.log(std), 2)], 1), 'moments_48x80'); // mean and log variance
  });

  test('decodes as diffusers does', () => check(decode(load(), config, input('z')), 'decoded'));

  test('the log variance is clamped', () => {
    const p = { ...load(), 'quant_conv.bias': tf.tensor([0, 0, 0, 0, 1000, 1000, -1000, -1000]) };
    const { std } = encode(p, config, input('x'));
    const [high, , low] = tf.unstack(tf.squeeze(std, [0]));
    assertClose(high.dataSync(), new Float32Array(64).fill(Math.exp(10)), 0.01, 'clamped at 20');
    assertClose(low.dataSync(), new Float32Array(64).fill(Math.exp(-15)), 1e-12, 'clamped at -30');
  });

  test('other weights are refused, incomplete ones too', () => {
    assert.throws(() => inferAutoencoderKLConfig(fixtureWeights('sit_transport'), 'sit'), DataError);
    const partial = new Map([...weights].filter(([name]) => !name.startsWith('decoder.up_blocks.2.')));
    assert.throws(() => matchWeights(partial, autoencoderKLShapes(config), 'vae'), DataError);
  });
});
