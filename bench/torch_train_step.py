"""The same SiT + REPA training step in PyTorch: a contestant of bench/contest.ts.

Shapes and operations are those of the official training script on the CPU: fused attention, torch.optim.AdamW,
clip_grad_norm_, an average per tensor.

    echo step | python bench/torch_train_step.py --model SiT-S/2 --batch 8 [--device cuda] [--bf16] [--compile]
"""

import argparse
import copy

import torch
import torch.nn.functional as F
from contestant import add_precision, answer, precision
from torch_sit import CHANNELS, CLASSES, FEATURES, LATENT, SiT


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="SiT-S/2")
    parser.add_argument("--batch", type=int, default=8)
    add_precision(parser)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_default_device(arguments.device)
    model = SiT(arguments.model)
    network = torch.compile(model) if arguments.compile else model
    average = copy.deepcopy(model)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-4, weight_decay=0)
    batch = arguments.batch
    x = torch.randn(batch, CHANNELS, LATENT, LATENT)
    noise = torch.randn_like(x)
    t = (torch.arange(batch) + 0.5) / batch
    y = torch.arange(batch) * 37 % CLASSES
    features = torch.randn(batch, model.grid**2, FEATURES)

    def step():
        t_image = t[:, None, None, None]
        with precision(arguments):
            velocity, projected = network((1 - t_image) * x + t_image * noise, t, y)
            alignment = (F.normalize(projected, dim=-1) * F.normalize(features, dim=-1)).sum(-1).mean()
            loss = (velocity - (noise - x)).square().mean() - 0.5 * alignment
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for mean, parameter in zip(average.parameters(), model.parameters()):
                mean.mul_(0.9999).add_(parameter, alpha=1 - 0.9999)

    answer(step, torch.bfloat16 if arguments.bf16 else torch.float32)


if __name__ == "__main__":
    main()
