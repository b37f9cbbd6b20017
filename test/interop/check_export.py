"""Checks by hand what `repa export` writes, with the libraries that will read it. Not part of `npm test`.

    npm run build
    pip install torch safetensors numpy pillow
    python test/interop/check_export.py [FOLDER_OF_THE_OFFICIAL_CODE]

A small SiT with REPA, one with two encoders and normalised queries and keys, and a DiT are trained, exported as .pt and
.safetensors, and loaded with strict=True into the module of sit.py and, where the folder of REPA's code is given, into its
`models/sit.py`; what these sample has to be what `repa sample` gives, and AdamW has to go on from the saved state. Then streams are written as .npy, .npz, .tar and folders, and read back.
"""
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from sit import SiT

here = os.path.dirname(os.path.abspath(__file__))
program = os.path.join(here, '../../bin/repa.js')
os.chdir(tempfile.mkdtemp(prefix='repa-interop-'))


def repa(*args):
    subprocess.run(['node', program, *args, '--quiet'], check=True, stdout=subprocess.DEVNULL)


rng = np.random.default_rng(0)
rows, classes = 8, 3
for i in range(rows):
    os.makedirs(f'imgs/class{i % classes}', exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(f'imgs/class{i % classes}/{i}.png')
np.save('z.npy', rng.standard_normal((rows, 4, 8, 8), dtype=np.float32))
np.save('f.npy', rng.standard_normal((rows, 16, 12), dtype=np.float32))
repa('import', 'imgs', '-o', 'images')
repa('import', 'z.npy', '--like', 'images', '-o', 'latents')
np.save('g.npy', rng.standard_normal((rows, 16, 20), dtype=np.float32))
repa('import', 'f.npy', '--like', 'images', '-o', 'feats')
repa('import', 'g.npy', '--like', 'images', '-o', 'feats2')
size = dict(width=32, depth=2, heads=2)
noise = rng.standard_normal((4, 4, 8, 8), dtype=np.float32)
np.save('noise.npy', noise)
labels = [0, 1, 2, 3]


def sampled(ckpt, *how):
    repa('sample', '--noise', 'noise.npy', '--labels', ','.join(map(str, labels)), '--latents', '--ckpt', ckpt, '-o', 'x', *how)
    repa('export', 'x', '-o', 'x.npy')
    return np.load('x.npy') * 0.18215


def run(module, x, t):
    with torch.no_grad():
        out = module(torch.from_numpy(x), torch.full((4,), t), torch.tensor(labels))
    return (out[0] if isinstance(out, tuple) else out).numpy()


def sit_sampled(module):
    """One Euler step from t = 1 to 0."""
    return noise - run(module, noise, 1.0)


def dit_sampled(module):
    """Two steps of DDIM, at 999 and 0 of 1000."""
    kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    x = noise
    for t, before in ((999, kept[0]), (0, 1.0)):
        eps = run(module, x.astype(np.float32), float(t))[:, :4]
        data = x / np.sqrt(kept[t]) - np.sqrt(1 / kept[t] - 1) * eps
        x = np.sqrt(before) * data + np.sqrt(1 - before) * eps
    return x


def official_sit(**more):
    """REPA's own module, where the folder of its code is given."""
    if len(sys.argv) < 2:
        return
    sys.path.insert(0, sys.argv[1])
    from models.sit import SiT as Official
    yield 'the official code', Official(
        input_size=8, patch_size=2, in_channels=4, hidden_size=32, decoder_hidden_size=32, encoder_depth=1, depth=2,
        num_heads=2, num_classes=classes, projector_dim=16, fused_attn=False, **more)


def check(name, train, modules, how, expect):
    """Trains a little, exports, and loads into PyTorch: weights, moving average and the optimiser's state."""
    ckpt = f'ckpt-{name}'
    repa('train', *(f'--{key}={value}' for key, value in size.items()), '--batch-size=4', '--steps=3', '--lr=1e-2', '--ema=0.5',
         '--out', ckpt, *train)
    repa('export', ckpt, '-o', f'{name}.safetensors')
    repa('export', ckpt, '--raw', '-o', f'{name}-raw.safetensors')
    repa('export', ckpt, '-o', f'{name}.pt')
    saved = torch.load(f'{name}.pt')  # weights_only: nothing but tensors and plain values
    assert saved['steps'] == 3
    for tensor_name, tensor in load_file(f'{name}-raw.safetensors').items():
        assert torch.equal(tensor, saved['model'][tensor_name]), tensor_name
    ours = sampled(ckpt, *how)
    for what, module in modules:
        for weights in (load_file(f'{name}.safetensors'), saved['ema']):
            module.load_state_dict(weights, strict=True)
            module.eval()
            theirs = expect(module)
            error = np.abs(theirs - ours).max() / np.abs(theirs).max()
            assert error < 1e-5, error
        print(f'{name} in {what}: loads strictly, samples differ by {error:.1e} of their largest value')
        module.load_state_dict(saved['model'], strict=True)
        optimizer = torch.optim.AdamW(module.parameters(), lr=1.0)
        optimizer.load_state_dict(saved['opt'])
        assert optimizer.param_groups[0]['lr'] == 1e-2
        assert all(state['step'] == 3 for state in optimizer.state.values())
        names = [name for name, p in module.named_parameters()]
        assert len(optimizer.state) == len(names) - 1  # all but the positions
        before = {name: p.clone() for name, p in module.named_parameters()}
        for p in module.parameters():
            p.grad = torch.zeros_like(p)  # the moments alone move the parameters
        optimizer.step()
        moved = [name for name, p in module.named_parameters() if not torch.equal(p, before[name])]
        assert set(moved) <= set(names) - {'pos_embed'} and 'blocks.1.mlp.fc1.weight' in moved, moved
        print(f'{name} in {what}: AdamW goes on from step 3')


def module(**more):
    return SiT(input_size=8, patch=2, channels=4, classes=classes, projector=16, **size, **more)


euler = '--mode', 'ode', '--solver', 'euler', '--steps', '1'
repa_loss = '--align-depth=1', '--projector-dim=16'
check('SiT', ('--model=SiT-S/2', *repa_loss),
      [('sit.py', module(z_dims=[12])), *official_sit(z_dims=[12], qk_norm=False)], euler, sit_sampled)
check('SiT-two-encoders-qk-norm', ('--model=SiT-S/2', *repa_loss, '--qk-norm', '--feats', 'feats,feats2'),
      [('sit.py', module(z_dims=[12, 20], qk_norm=True)), *official_sit(z_dims=[12, 20], qk_norm=True)], euler, sit_sampled)
check('DiT', ('--model=DiT-S/2', '--lambda=0'), [('sit.py', module(out_channels=8))], ('--mode', 'ddim', '--steps', '2'), dit_sampled)

repa('export', 'feats', '-o', 'f2.npy')
assert np.array_equal(np.load('f2.npy'), np.load('f.npy'))
repa('export', 'images', '-o', 'images.npz')
arrays = np.load('images.npz')
pictures = [np.asarray(Image.open(f'imgs/class{i % classes}/{i}.png')) for i in sorted(range(rows), key=lambda i: (i % classes, i))]
assert np.array_equal(arrays['arr_0'], np.stack(pictures)) and list(arrays['arr_1']) == sorted(i % classes for i in range(rows))
repa('export', 'images', '-o', 'images.tar')
with tarfile.open('images.tar') as tar:
    read = {member.name: tar.extractfile(member).read() for member in tar}
assert np.array_equal(np.asarray(Image.open(io.BytesIO(read['class1/4.png']))), np.asarray(Image.open('imgs/class1/4.png')))
assert read['class1/4.cls'] == b'1'
repa('export', 'images', '-o', 'folder/')
assert np.array_equal(np.asarray(Image.open('folder/class2/5.png')), np.asarray(Image.open('imgs/class2/5.png')))
np.save('m.npy', rng.random((rows, 8, 8, 8), dtype=np.float32))
repa('import', 'm.npy', '--column', 'moments', '--like', 'images', '-o', 'moments')
repa('export', 'moments', '-o', 'vae-sd/')
entries = dict(json.load(open('vae-sd/dataset.json'))['labels'])  # as the official dataset reads it
names = sorted(os.path.relpath(os.path.join(root, name), 'vae-sd') for root, _, found in os.walk('vae-sd') for name in found if name.endswith('.npy'))
assert np.array_equal(np.stack([np.load(os.path.join('vae-sd', name)) for name in names]), np.load('m.npy'))
assert [entries[name] for name in names] == sorted(i % classes for i in range(rows))
repa('import', 'vae-sd', '-o', 'again')
repa('export', 'again', '-o', 'again.npy')
assert np.array_equal(np.load('again.npy'), np.load('m.npy'))
print('streams: .npy, .npz, .tar and folders hold what went in')
