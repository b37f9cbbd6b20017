"""The same metrics in PyTorch and SciPy, as their usual implementations compute them: a contestant of bench/contest.ts.

    echo step | python bench/torch_metric.py --metric cknna --rows 10000
"""

import argparse

import torch
import torch.nn.functional as F
from contestant import answer
from scipy import linalg

NEIGHBOURS = 10


def hsic_unbiased(k, l):
    """Of kernel matrices whose diagonals are left out (Song et al., 2012, equation 5)."""
    n = len(k)
    k, l = k.clone().fill_diagonal_(0), l.clone().fill_diagonal_(0)
    value = (k * l.T).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * (k @ l).sum() / (n - 2)
    return value / (n * (n - 3))


def neighbour_mask(kernel):
    hidden = kernel.clone().fill_diagonal_(float("-inf"))
    indices = hidden.topk(NEIGHBOURS, dim=1).indices
    return torch.zeros_like(kernel).scatter_(1, indices, 1.0)


def cknna(a, b):
    kernels = [a @ a.T, b @ b.T]
    masks = [neighbour_mask(kernel) for kernel in kernels]

    def similarity(i, j):
        mask = masks[i] * masks[j]
        return hsic_unbiased(mask * kernels[i], mask * kernels[j])

    return similarity(0, 1) / (torch.sqrt(similarity(0, 0) * similarity(1, 1)) + 1e-6)


def frechet(first, second):
    (mean1, covariance1), (mean2, covariance2) = first, second
    root = linalg.sqrtm(covariance1 @ covariance2)
    difference = mean1 - mean2
    return difference @ difference + covariance1.trace() + covariance2.trace() - 2 * root.real.trace()


def gaussian(rows, dims):
    features = torch.randn(rows, dims, dtype=torch.float64)
    return features.mean(0).numpy(), torch.cov(features.T).numpy()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--metric", default="cknna")
    parser.add_argument("--rows", type=int, default=2000)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    if arguments.metric == "cknna":
        a, b = (F.normalize(torch.randn(arguments.rows, 768), dim=-1) for _ in range(2))
        answer(lambda: cknna(a, b))
    else:
        first, second = gaussian(4096, 2048), gaussian(4096, 2048)
        answer(lambda: frechet(first, second))


if __name__ == "__main__":
    main()
