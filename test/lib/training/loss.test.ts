import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { lognormalTime } from '../../../src/lib/diffusion/time.js';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { toParameters } from '../../../src/lib/models/parameters.js';
import { captureGradients } from '../../../src/lib/optim/index.js';
import { inferNetwork } from '../../../src/lib/repa/infer.js';
import { trainingLoss } from '../../../src/lib/training/loss.js';
import { modelStore } from '../../../src/lib/training/store.js';
import { fixtureWeights } from '../../fixture-weights.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

const io = fixtureTensors('loss/io');
const data = (name: string): Float32Array => io.get(name)!.data;
const weights = fixtureWeights('sit');
const network = inferNetwork('SiT', weights, 'sit', { numHeads: 3, alignDepth: 2 });
const DROPPED_ROW = 1;

for (const path of ['linear', 'cosine'] as const) {
  for (const distribution of ['uniform', 'lognormal'] as const) {
    const name = distribution === 'uniform' ? path : `${path}_lognormal`;

    test(`${name}: the losses and their gradients are those of the official code`, () => {
      const store = modelStore(network, { weights });
      const times =
        distribution === 'uniform' ? data('t') : data('lognormal_normal').map((normal) => lognormalTime(normal, path));
      assertClose(times, data(`${name}.t_used`), 1e-7, 'times');
      const labels = Int32Array.from(data('y'));
      labels[DROPPED_ROW] = network.model.numClasses;

      const step = captureGradients(
        store,
        (x, noise, t, y, z) => {
          const inputs = { x, noise, t, y, features: [z] };
          const { total, velocity, projection } = trainingLoss(store.tensors, network, inputs, { path });
          return [total, velocity, projection];
        },
        ['x', 'noise', 't', 'y', 'z'].map((key) => {
          const shape = key === 't' ? [4] : io.get(key)!.shape;
          return { shape, dtype: key === 'y' ? 'int32' : 'float32' };
        }),
      );
      const [total, velocity, projection] = step.run(data('x'), data('noise'), times, labels, data('z'));

      const officialVelocity = data(`${name}.denoising_loss`).reduce((sum, loss) => sum + loss, 0) / 4;
      const expected = { total: data(`${name}.total`)[0], projection: data(`${name}.proj_loss`)[0] };
      assertClose(velocity as Float32Array, [officialVelocity], 1e-5 * officialVelocity, 'velocity loss');
      assertClose(
        projection as Float32Array,
        [expected.projection],
        1e-5 * Math.abs(expected.projection),
        'projection',
      );
      assertClose(total as Float32Array, [expected.total], 1e-5 * expected.total, 'total');

      let compared = 0;
      for (const { name: key, gradient } of store.parameters) {
        const official = io.get(`${name}.grad.${key}`)?.data;
        if (!gradient || !official) continue;
        assertClose(gradient, official, 1e-4 * largestMagnitude(official), `gradient of ${key}`);
        compared++;
      }
      assert.equal(compared, path === 'linear' && distribution === 'uniform' ? 14 : 5);
      step.dispose();
    });
  }
}

for (const [official, path] of [
  ['Linear', 'linear'],
  ['GVP', 'cosine'],
] as const) {
  test(`original SiT, ${official}: the velocity loss of a network whose time is reversed`, () => {
    const transport = fixtureTensors('sit_transport/io');
    const original = fixtureWeights('sit_transport');
    const [x, noise] = ['x1', 'x0'].map((name) => {
      const { shape, data } = transport.get(`loss.${name}`)!;
      return tf.tensor(data, [...shape]);
    });
    const network = inferNetwork('SiT', original, 'sit_transport', { numHeads: 3 });
    const t = tf.sub(1, tf.tensor(transport.get('loss.u')!.data));
    const y = tf.tensor(Int32Array.from(transport.get('y')!.data));
    const losses = trainingLoss(toParameters(original), network, { x, noise, t, y }, { path });
    const perSample = transport.get(`loss.${official}.velocity.None`)!.data;
    const expected = perSample.reduce((sum, loss) => sum + loss, 0) / perSample.length;
    assertClose(losses.velocity.dataSync(), [expected], 1e-4 * expected, 'velocity loss');
    assert.deepEqual(Object.keys(losses), ['total', 'velocity']);
    assert.deepEqual(losses.total.dataSync(), losses.velocity.dataSync());
  });
}
