"""Independent numbers for test/commands/fid.test.ts, by the definitions of pytorch-fid, clean-fid and ADM's evaluator.

Two small sets of images and Inception's weights are formulas, so that the test can make the same ones. Everything is
computed here with PyTorch's functions, NumPy and Pillow, and printed as JSON:

    pip install torch numpy pillow safetensors
    python3 test/interop/fid_oracle.py

With `--check repa`, the sets are written as the tools' users have them (folders, the .npz of samples, of ADM's references
and of pytorch-fid), the program is run on each, and the relative errors are printed; above 1e-3, it fails.
"""

import argparse
import functools
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

COUNT = 32
SIDE = 64


def mix(h):
    """Murmur3's finaliser on uint32 arrays."""
    h = h.astype(np.uint32)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))


def images(first, step):
    """u8 [COUNT, SIDE, SIDE, 3]: slanted stripes, of another slant and brightness in each image and channel."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.int64)
    out = np.zeros((COUNT, SIDE, SIDE, 3), np.uint8)
    for i in range(COUNT):
        for c in range(3):
            h = int(mix(np.array([3 * (first + i) + c]))[0])
            slant, rise, offset = 1 + h % step, 1 + (h >> 8) % step, (h >> 16) & 255
            out[i, :, :, c] = (x * slant + y * rise + offset + ((x * y) >> 4)) & 255
    return out


names = {}


@functools.cache
def formula(name, shape):
    """A weight, f32: u in [0, 1) from the hash of its name and index, stretched as its kind asks for."""
    names[name] = shape
    h = 0x811C9DC5
    for byte in name.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    size = int(np.prod(shape))
    u = (mix((np.arange(size, dtype=np.uint64) + h).astype(np.uint32)) >> np.uint32(8)).astype(np.float64) / 2**24
    if name == 'fc.weight':
        value = (2 * u - 1) * 0.05
    elif name.endswith('.conv.weight'):
        value = (2 * u - 1) * math.sqrt(6 / np.prod(shape[1:]))
    elif name.endswith('.bn.weight'):
        value = 0.8 + 0.4 * u
    elif name.endswith('.running_var'):
        value = 0.5 + u
    else:
        value = (2 * u - 1) * 0.2
    return value.astype(np.float32).reshape(shape)


def unit(name, x, outputs, kernel, stride=1, padding=(0, 0)):
    """Convolution, batch norm (eps 1e-3), ReLU on [B, C, H, W]."""
    weight = torch.from_numpy(formula(f'{name}.conv.weight', (outputs, x.shape[1], *kernel)))
    kinds = ('running_mean', 'running_var', 'weight', 'bias')
    norm = [torch.from_numpy(formula(f'{name}.bn.{kind}', (outputs,))) for kind in kinds]
    return F.relu(F.batch_norm(F.conv2d(x, weight, stride=stride, padding=padding), *norm, eps=1e-3))


def chain(name, x, *layers):
    for layer, outputs, kernel in layers:
        padding = ((kernel[0] - 1) // 2, (kernel[1] - 1) // 2)
        x = unit(f'{name}.{layer}', x, outputs, kernel, padding=padding)
    return x


def max_pool(x, stride, padding=0):
    return F.max_pool2d(x, 3, stride, padding)


def mean_pool(x):
    """3 x 3, the padding left out of the mean."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def block_a(name, x, pooled):
    return torch.cat(
        [
            chain(name, x, ('branch1x1', 64, (1, 1))),
            chain(name, x, ('branch5x5_1', 48, (1, 1)), ('branch5x5_2', 64, (5, 5))),
            chain(name, x, ('branch3x3dbl_1', 64, (1, 1)), ('branch3x3dbl_2', 96, (3, 3)), ('branch3x3dbl_3', 96, (3, 3))),
            chain(name, mean_pool(x), ('branch_pool', pooled, (1, 1))),
        ],
        1,
    )


def block_c(name, x, inner):
    tall, wide = (7, 1), (1, 7)
    double = [inner, inner, inner, inner, 192]
    shapes = [(1, 1), tall, wide, tall, wide]
    return torch.cat(
        [
            chain(name, x, ('branch1x1', 192, (1, 1))),
            chain(name, x, ('branch7x7_1', inner, (1, 1)), ('branch7x7_2', inner, wide), ('branch7x7_3', 192, tall)),
            chain(name, x, *[(f'branch7x7dbl_{i + 1}', double[i], shapes[i]) for i in range(5)]),
            chain(name, mean_pool(x), ('branch_pool', 192, (1, 1))),
        ],
        1,
    )


def block_e(name, x, pool):
    single = chain(name, x, ('branch3x3_1', 384, (1, 1)))
    double = chain(name, x, ('branch3x3dbl_1', 448, (1, 1)), ('branch3x3dbl_2', 384, (3, 3)))
    return torch.cat(
        [
            chain(name, x, ('branch1x1', 320, (1, 1))),
            chain(name, single, ('branch3x3_2a', 384, (1, 3))),
            chain(name, single, ('branch3x3_2b', 384, (3, 1))),
            chain(name, double, ('branch3x3dbl_3a', 384, (1, 3))),
            chain(name, double, ('branch3x3dbl_3b', 384, (3, 1))),
            chain(name, pool(x), ('branch_pool', 192, (1, 1))),
        ],
        1,
    )


def inception(x):
    """[B, 3, 299, 299] to pool [B, 2048], spatial [B, 2023] and logits without bias [B, 1008]."""
    x = unit('Conv2d_1a_3x3', x, 32, (3, 3), stride=2)
    x = unit('Conv2d_2a_3x3', x, 32, (3, 3))
    x = max_pool(unit('Conv2d_2b_3x3', x, 64, (3, 3), padding=(1, 1)), 2)
    x = unit('Conv2d_3b_1x1', x, 80, (1, 1))
    x = max_pool(unit('Conv2d_4a_3x3', x, 192, (3, 3)), 2)
    x = block_a('Mixed_5b', x, 32)
    x = block_a('Mixed_5c', x, 64)
    x = block_a('Mixed_5d', x, 64)
    double = chain('Mixed_6a', x, ('branch3x3dbl_1', 64, (1, 1)), ('branch3x3dbl_2', 96, (3, 3)))
    strided = unit('Mixed_6a.branch3x3', x, 384, (3, 3), stride=2)
    x = torch.cat([strided, unit('Mixed_6a.branch3x3dbl_3', double, 96, (3, 3), stride=2), max_pool(x, 2)], 1)
    x = block_c('Mixed_6b', x, 128)
    x = block_c('Mixed_6c', x, 160)
    spatial = chain('Mixed_6d', x, ('branch1x1', 192, (1, 1)))[:, :7].permute(0, 2, 3, 1).flatten(1)
    x = block_c('Mixed_6d', x, 160)
    x = block_c('Mixed_6e', x, 192)
    narrow = chain('Mixed_7a', x, ('branch3x3_1', 192, (1, 1)))
    seven = [('branch7x7x3_1', 192, (1, 1)), ('branch7x7x3_2', 192, (1, 7)), ('branch7x7x3_3', 192, (7, 1))]
    wide = unit('Mixed_7a.branch7x7x3_4', chain('Mixed_7a', x, *seven), 192, (3, 3), stride=2)
    x = torch.cat([unit('Mixed_7a.branch3x3_2', narrow, 320, (3, 3), stride=2), wide, max_pool(x, 2)], 1)
    x = block_e('Mixed_7b', x, mean_pool)
    x = block_e('Mixed_7c', x, lambda y: max_pool(y, 1, padding=1))
    pool = x.mean((2, 3))
    return pool, spatial, pool @ torch.from_numpy(formula('fc.weight', (1008, 2048))).T


def bilinear_tf1(u8):
    """TensorFlow 1: neither aligned corners nor half-pixel centres."""
    batch = u8.astype(np.float64)
    for axis in (1, 2):
        size = batch.shape[axis]
        at = np.arange(299) * (size / 299)
        low = np.minimum(np.floor(at).astype(int), size - 1)
        high = np.minimum(low + 1, size - 1)
        shape = [1] * 4
        shape[axis] = 299
        weight = (at - low).reshape(shape)
        batch = batch.take(low, axis) * (1 - weight) + batch.take(high, axis) * weight
    return batch


def adm(u8):
    return torch.from_numpy((bilinear_tf1(u8) - 128) / 128).permute(0, 3, 1, 2)


def pytorch_fid(u8):
    x = torch.from_numpy(u8).permute(0, 3, 1, 2).float() / 255
    return 2 * F.interpolate(x, (299, 299), mode='bilinear', align_corners=False) - 1


def clean(u8):
    def channel(plane):
        resized = Image.fromarray(plane.astype(np.float32), mode='F').resize((299, 299), resample=Image.BICUBIC)
        return np.asarray(resized).clip(0, 255)

    planes = np.stack([[channel(image[:, :, c]) for c in range(3)] for image in u8])
    return torch.from_numpy((planes - 128) / 128)


RESIZE = {'adm': adm, 'pytorch-fid': pytorch_fid, 'clean': clean}


@torch.no_grad()
def features(u8, resize):
    parts = [inception(RESIZE[resize](u8[start : start + 8]).float()) for start in range(0, len(u8), 8)]
    return [torch.cat(each).double().numpy() for each in zip(*parts)]


def frechet(a, b):
    """The trace of the root of the product of covariances from singular values, which rank deficiency does not harm."""
    means = ((a.mean(0) - b.mean(0)) ** 2).sum()
    centred = [(x - x.mean(0)) / math.sqrt(len(x) - 1) for x in (a, b)]
    nuclear = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    return float(means + sum((x**2).sum() for x in centred) - 2 * nuclear)


def inception_score(logits):
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return float(np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean()))


def precision_recall(samples, reference, k=3, scale=1):
    def distances(x, y):
        return ((x[:, None] - y[None]) ** 2).sum(2)

    radius_samples = scale * np.sort(distances(samples, samples), 1)[:, k]
    radius_reference = scale * np.sort(distances(reference, reference), 1)[:, k]
    between = distances(samples, reference)
    precision = (between <= radius_reference[None]).any(1).mean()
    return float(precision), float((between <= radius_samples[:, None]).any(0).mean())


def kernel_distance(a, b):
    """The unbiased squared discrepancy of all samples: one subset of the size of the sets."""
    kernel = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3
    n = len(a)
    within = sum(kernel(x, x).sum() - np.trace(kernel(x, x)) for x in (a, b))
    return float(within / (n * (n - 1)) - 2 * kernel(a, b).mean())


def numbers(a, b):
    """All metrics of two sets of features: pooled, spatial, logits."""
    # A sample on the edge of a ball may fall to either side: the shares where radii are 1e-3 smaller and larger.
    shares = [precision_recall(a[0], b[0], scale=scale) for scale in (1 - 1e-3, 1 + 1e-3)]
    precision, recall = ([*sorted(set(pair))] for pair in zip(*shares))
    return {
        'FD': frechet(a[0], b[0]),
        'sFD': frechet(a[1], b[1]),
        'IS': inception_score(a[2]),
        'precision': precision,
        'recall': recall,
        'KD': kernel_distance(a[0], b[0]),
    }


def statistics(x):
    return x.mean(0), np.cov(x, rowvar=False)


def write_sets(folder, sets, found):
    """The sets as folders, as samples and reference of ADM's evaluator, and as pytorch-fid keeps statistics."""
    for name, u8 in sets.items():
        (folder / name).mkdir()
        for i, image in enumerate(u8):
            Image.fromarray(image).save(folder / name / f'{i:02d}.png')
        np.savez(folder / f'{name}.npz', u8)
    for resize in RESIZE:
        pooled, spatial, _ = found['reference', resize]
        (mu, sigma), (mu_s, sigma_s) = statistics(pooled), statistics(spatial)
        np.savez(folder / f'pytorch-{resize}.npz', mu=mu, sigma=sigma)
        np.savez(folder / f'adm-{resize}.npz', sets['reference'], mu=mu, sigma=sigma, mu_s=mu_s, sigma_s=sigma_s)
    from safetensors.numpy import save_file

    save_file(weights(), folder / 'inception.safetensors')


def weights():
    """Every tensor that the network has asked for."""
    return {name: formula(name, shape) for name, shape in names.items()}


ALL = 'fid,sfid,is,pr,kid'


def check(program, sets, found):
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_sets(folder, sets, found)
        for resize in RESIZE:
            expected = numbers(found['samples', resize], found['reference', resize])
            cases = [
                ('samples', 'reference', ALL),
                ('samples.npz', 'reference.npz', ALL),
                ('samples.npz', f'adm-{resize}.npz', ALL),
                ('samples', f'pytorch-{resize}.npz', 'fid'),
            ]
            for a, b, metrics in cases:
                options = f'--metrics {metrics} --resize {resize} --weights inception.safetensors --no-cache -q --json'
                options += f' --kid-subsets 1 --kid-subset-size {COUNT}'
                line = [*program.split(), 'fid', a, b, *options.split()]
                out = subprocess.run(line, cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                for text in out.stdout.decode().splitlines():
                    result = json.loads(text)
                    metric = result['metric'].split('(')[0]
                    wanted = expected[metric]
                    if isinstance(wanted, list):
                        wanted = min(max(result['value'], wanted[0]), wanted[-1])
                    # A score of 1 says nothing: what counts is how far above it is.
                    one = 1 if metric == 'IS' else 0
                    error = abs((result['value'] - one) / (wanted - one) - 1)
                    failed |= not error < 1e-3
                    print(f'{resize:12} {a:12} {b:22} {metric:10} {result["value"]:.9g} {wanted:.9g} {error:.1e}')
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--check', metavar='REPA', help='the program to check, such as "node bin/repa.js"')
    program = parser.parse_args().check
    sets = {'samples': images(0, 7), 'reference': images(1000, 9)}
    found = {(name, resize): features(u8, resize) for name, u8 in sets.items() for resize in RESIZE}
    if program:
        sys.exit(check(program, sets, found))
    result = {resize: numbers(found['samples', resize], found['reference', resize]) for resize in RESIZE}
    print(json.dumps(result, indent=1))


if __name__ == '__main__':
    main()
