"""SiT with REPA's projectors, and DiT, in PyTorch, under the parameter names of the official code, to load our exports into."""
import math

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, width, heads, qk_norm):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        # Before the projection, as the optimiser numbers them.
        self.q_norm, self.k_norm = (nn.LayerNorm(width // heads) if qk_norm else nn.Identity() for _ in range(2))
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v).transpose(1, 2).reshape(b, t, d))


class Mlp(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate='tanh'))


def modulation(width, count):
    return nn.Sequential(nn.SiLU(), nn.Linear(width, count * width))


def normalised(x, shift, scale):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
    def __init__(self, width, heads, qk_norm):
        super().__init__()
        self.attn = Attention(width, heads, qk_norm)
        self.mlp = Mlp(width, 4 * width)
        self.adaLN_modulation = modulation(width, 6)

    def forward(self, x, c):
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(c).chunk(6, 1)
        x = x + gate_a[:, None] * self.attn(normalised(x, shift_a, scale_a))
        return x + gate_m[:, None] * self.mlp(normalised(x, shift_m, scale_m))


class Final(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.linear = nn.Linear(width, outputs)
        self.adaLN_modulation = modulation(width, 2)

    def forward(self, x, c):
        return self.linear(normalised(x, *self.adaLN_modulation(c).chunk(2, 1)))


class Embedder(nn.Module):
    pass


class SiT(nn.Module):
    def __init__(self, input_size, patch, channels, width, depth, heads, classes, z_dims=(), projector=2048, qk_norm=False,
                 out_channels=None):
        super().__init__()
        self.patch, self.channels = patch, out_channels or channels
        side = input_size // patch
        self.pos_embed = nn.Parameter(torch.zeros(1, side * side, width), requires_grad=False)
        self.x_embedder, self.t_embedder, self.y_embedder = Embedder(), Embedder(), Embedder()
        self.x_embedder.proj = nn.Conv2d(channels, width, patch, patch)
        self.t_embedder.mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.y_embedder.embedding_table = nn.Embedding(classes + 1, width)
        self.blocks = nn.ModuleList([Block(width, heads, qk_norm) for _ in range(depth)])
        layers = lambda z: (nn.Linear(width, projector), nn.SiLU(), nn.Linear(projector, projector), nn.SiLU(), nn.Linear(projector, z))
        self.projectors = nn.ModuleList([nn.Sequential(*layers(z)) for z in z_dims])
        self.final_layer = Final(width, patch * patch * self.channels)

    def forward(self, x, t, y):
        angles = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(128) / 128)
        time = self.t_embedder.mlp(torch.cat([angles.cos(), angles.sin()], 1))
        c = time + self.y_embedder.embedding_table(y)
        tokens = self.x_embedder.proj(x).flatten(2).transpose(1, 2) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens, c)
        out, p, side = self.final_layer(tokens, c), self.patch, x.shape[-1] // self.patch
        out = out.reshape(-1, side, side, p, p, self.channels)
        return torch.einsum('nhwpqc->nchpwq', out).reshape(-1, self.channels, *x.shape[2:])
