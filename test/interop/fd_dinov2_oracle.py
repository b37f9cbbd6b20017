"""Independent features for test/lib/pretrained/feature-network.test.ts: DINOv2's class token, as FD-DINOv2 compares it.

An image is resized by Pillow to 224 pixels (bicubic, which antialiases, in 8 bits), normalised with ImageNet's mean and
deviation, and position embeddings are resampled as DINOv2's own code does it. Weights are the test's, of a tiny DINOv2:

    pip install torch numpy pillow safetensors
    python3 test/interop/fd_dinov2_oracle.py weights.safetensors > test/fixtures/dinov2/fd_dinov2.json
"""

import json
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file

SIDE = 224
PATCH = 14
HEADS = 2
MEAN = torch.tensor([0.485, 0.456, 0.406])
DEVIATION = torch.tensor([0.229, 0.224, 0.225])


def image(side):
    """Slanted stripes, of another slant in each channel."""
    y, x, c = np.mgrid[0:side, 0:side, 0:3]
    return ((x * (5 + 2 * c) + y * (3 + c) + ((x * y) >> 4)) & 255).astype(np.uint8)


def positions(p):
    grid = SIDE // PATCH
    own, rest = p['pos_embed'][:, :1], p['pos_embed'][:, 1:]
    side = int(rest.shape[1] ** 0.5)
    square = rest.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = (grid + 0.1) / side
    resized = F.interpolate(square, scale_factor=(scale, scale), mode='bicubic', antialias=False)
    return torch.cat([own, resized.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)], 1)


def class_token(p, u8):
    resized = np.asarray(Image.fromarray(u8).resize((SIDE, SIDE), Image.BICUBIC))
    x = ((torch.from_numpy(resized.copy()).float() / 255 - MEAN) / DEVIATION).permute(2, 0, 1)[None]
    x = F.conv2d(x, p['patch_embed.proj.weight'], p['patch_embed.proj.bias'], stride=PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([p['cls_token'], x], 1) + positions(p)
    width = x.shape[2]

    def norm(name, x):
        return F.layer_norm(x, (width,), p[f'{name}.weight'], p[f'{name}.bias'], 1e-6)

    def linear(name, x):
        return F.linear(x, p[f'{name}.weight'], p[f'{name}.bias'])

    for i in range(sum(name.endswith('ls1.gamma') for name in p)):
        block = f'blocks.{i}'
        qkv = linear(f'{block}.attn.qkv', norm(f'{block}.norm1', x))
        q, k, v = qkv.reshape(1, -1, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + p[f'{block}.ls1.gamma'] * linear(f'{block}.attn.proj', attended)
        hidden = F.gelu(linear(f'{block}.mlp.fc1', norm(f'{block}.norm2', x)))
        x = x + p[f'{block}.ls2.gamma'] * linear(f'{block}.mlp.fc2', hidden)
    return norm('norm', x)[0, 0]


weights = {name: tensor.float() for name, tensor in load_file(sys.argv[1]).items()}
with torch.no_grad():
    found = {side: [round(value, 6) for value in class_token(weights, image(side)).tolist()] for side in (64, 300)}
print(json.dumps(found))
