from __future__ import annotations

import pytest
import torch
from ldmkit_training.optimizers import AdamW, Muon
from torch import nn

from ldmkit.recipe.stages import TrainingSettings
from ldmkit.testing.registration import check_registration
from ldmkit.testing.training import check_optimizer
from ldmkit.training.optim import adam, groups_of

BETAS, DECAY = (0.9, 0.99), 0.01


def test_registration():
    check_registration("ldmkit-training")


@pytest.mark.parametrize("make", [AdamW(BETAS, DECAY), Muon(BETAS, DECAY)], ids=["adamw", "muon"])
def test_optimizers_keep_their_contract(make):
    check_optimizer(make)


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    u, _, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    return u @ v


def group(name: str, parameter: nn.Parameter, lr: float = 1.0) -> list[dict]:
    return [{"params": [(name, parameter)], "lr": lr, "factor": 1.0}]


def test_muons_first_update_is_near_the_orthogonal_matrix_of_the_gradient():
    gradient = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    kernel = nn.Parameter(torch.zeros(6, 4, 3, 3))
    optimizer = Muon(BETAS, 0.0, iterations=5)(group("kernel", kernel))
    kernel.grad = gradient.clone()
    optimizer.step()
    update = -kernel.detach().flatten(1).double() / (0.2 * 36**0.5)
    target = orthogonalised(gradient.flatten(1))
    assert torch.linalg.svdvals(update).min() > 0.6
    assert torch.linalg.svdvals(update).max() < 1.3
    assert torch.nn.functional.cosine_similarity(update.flatten(), target.flatten(), dim=0) > 0.97


def test_a_kernel_in_another_memory_format_is_trained_alike():
    torch.manual_seed(0)
    start, gradient = torch.randn(6, 4, 3, 3), torch.randn(6, 4, 3, 3)
    made = []
    for memory in (torch.contiguous_format, torch.channels_last):
        kernel = nn.Parameter(start.clone().to(memory_format=memory))
        optimizer = Muon(BETAS, DECAY)(group("kernel", kernel, 0.1))
        for _ in range(2):
            kernel.grad = gradient.to(memory_format=memory)
            optimizer.step()
        made.append(kernel.detach().contiguous())
    assert torch.equal(*made)
    assert not torch.equal(made[0], start)


def test_muon_leaves_vectors_embeddings_and_named_weights_to_adamw():
    torch.manual_seed(0)
    matrix, other = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))
    bias = nn.Parameter(torch.randn(4))
    named = {"layer.weight": matrix, "token_embedding.weight": other, "layer.bias": bias}
    options = TrainingSettings(steps=1, batch=1, lr=0.1, betas=BETAS, weight_decay=DECAY)
    alike = {n: nn.Parameter(p.detach().clone()) for n, p in named.items()}
    ours, reference = Muon(BETAS, DECAY)(groups_of(named, options)), adam(groups_of(alike, options), options)
    for parameters, optimizer in ((named, ours), (alike, reference)):
        for n, p in parameters.items():
            p.grad = torch.full_like(p, 0.3) if n != "layer.weight" else torch.eye(4) + 0.1
        optimizer.step()
    assert not torch.equal(matrix, alike["layer.weight"])
    assert torch.equal(other, alike["token_embedding.weight"])
    assert torch.equal(bias, alike["layer.bias"])


def test_the_adamw_of_a_recipe_computes_what_training_without_one_computes():
    weights = [nn.Parameter(torch.ones(3, 3)) for _ in range(2)]
    options = TrainingSettings(steps=1, batch=1, lr=0.1, betas=BETAS, weight_decay=DECAY)
    optimizers = [AdamW(BETAS, DECAY)(groups_of({"w": weights[0]}, options)),
                  adam(groups_of({"w": weights[1]}, options), options)]  # fmt: skip
    for weight, optimizer in zip(weights, optimizers, strict=True):
        for step in range(3):
            weight.grad = torch.full((3, 3), 0.5 - step)
            optimizer.step()
    assert torch.equal(*weights)
