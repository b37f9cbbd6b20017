"""The same calls of networks in PyTorch: a contestant of bench/contest.ts.

    echo step | python bench/torch_network.py --network vit --model B --batch 8 [--device cuda] [--bf16] [--compile]
"""

import argparse

import torch
from contestant import add_precision, answer, precision
from torch import nn
from torch_inception import inception
from torch_sit import CHANNELS, CLASSES, LATENT, Attention, SiT
from torch_vae import LATENT_CHANNELS, decoder, encoder

WIDTHS = {"S": 384, "B": 768, "L": 1024}


class EncoderBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, width // 64)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.scale1, self.scale2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))

    def forward(self, x):
        x = x + self.scale1 * self.attention(self.norm1(x))
        return x + self.scale2 * self.mlp(self.norm2(x))


class ViT(nn.Module):
    """DINOv2 at 224 pixels."""

    def __init__(self, width):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 14, 14)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 257, width))
        self.blocks = nn.Sequential(*[EncoderBlock(width) for _ in range(12)])
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images):
        patches = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(images), -1, -1), patches], 1) + self.positions
        return self.norm(self.blocks(x))


class Sampler(nn.Module):
    """A velocity without the projector, which sampling does not need."""

    def __init__(self, size):
        super().__init__()
        self.sit = SiT(f"SiT-{size}/2")
        self.sit.projector = nn.Identity()

    def forward(self, x, t, y):
        return self.sit(x, t, y)[0]


def build(network, size, batch):
    """A network and its inputs."""
    if network == "sample":
        labels = torch.cat([torch.arange(batch), torch.full((batch,), CLASSES)])
        x = torch.randn(2 * batch, CHANNELS, LATENT, LATENT)
        return Sampler(size), [x, torch.full((2 * batch,), 0.5), labels]
    if network == "vit":
        return ViT(WIDTHS[size]), [torch.randn(batch, 3, 224, 224)]
    if network == "vae-encode":
        return encoder(), [torch.randn(batch, 3, 256, 256)]
    if network == "vae-decode":
        return decoder(), [torch.randn(batch, LATENT_CHANNELS, 32, 32)]
    return inception(), [torch.randn(batch, 3, 299, 299)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="sample")
    parser.add_argument("--model", default="S")
    parser.add_argument("--batch", type=int, default=4)
    add_precision(parser)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_default_device(arguments.device)
    network, inputs = build(arguments.network, arguments.model, arguments.batch)
    network.eval()
    run = torch.compile(network) if arguments.compile else network

    def step():
        with torch.no_grad(), precision(arguments):
            run(*inputs)

    answer(step, torch.bfloat16 if arguments.bf16 else torch.float32)


if __name__ == "__main__":
    main()
