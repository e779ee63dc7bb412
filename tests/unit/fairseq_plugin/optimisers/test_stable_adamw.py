"""StableAdamW against the update written out, tensor by tensor."""

from argparse import Namespace

import pytest
import torch

from musicbert.errors import DatasetError
from musicbert.fairseq_plugin.optimisers.stable_adamw import FairseqStableAdamW, StableAdamW


def plain(parameter, gradients, *, lr=2e-5, betas=(0.9, 0.99), eps=1e-8, decay=0.01):
    """The update of the module's docstring, in float64."""
    p, m, v = parameter.double(), 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        g = gradient.double()
        b1, b2 = (b * (1 - b ** (step - 1)) / (1 - b**step) for b in betas)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        rms = max(1.0, float((g * g / v.clamp(min=eps**2)).mean().sqrt()))
        p = p * (1 - decay * lr / rms) - lr / rms * m / (v.sqrt() + eps)
    return p


@pytest.mark.parametrize("lr", [2e-5, 0.1])
def test_equal_to_a_plain_loop(lr):
    torch.manual_seed(0)
    shapes = [(3, 4), (7,), (1,), (2, 3, 2)]
    # gradients that grow suddenly: the second moment lags, and steps are cut
    scales = [1.0, 1.0, 1e-3, 50.0, 1.0, 0.0]
    start = [torch.randn(shape) for shape in shapes]
    gradients = [[scale * torch.randn(shape) for scale in scales] for shape in shapes]
    parameters = [torch.nn.Parameter(value.clone()) for value in start]
    idle = torch.nn.Parameter(torch.ones(2))
    optimizer = StableAdamW([*parameters, idle], lr=lr)
    for step in range(len(scales)):
        for parameter, own in zip(parameters, gradients, strict=True):
            parameter.grad = own[step].clone()
        optimizer.step()
    for parameter, value, own in zip(parameters, start, gradients, strict=True):
        wanted = plain(value, own, lr=lr).float()
        torch.testing.assert_close(parameter.detach(), wanted, rtol=2e-6, atol=2e-6)
    assert torch.equal(idle.detach(), torch.ones(2))


def test_the_first_step_has_the_size_of_the_rate():
    parameter = torch.nn.Parameter(torch.zeros(4))
    parameter.grad = torch.tensor([1.0, -2.0, 3.0, 1e-4])
    StableAdamW([parameter], lr=0.1, weight_decay=0.0).step()
    torch.testing.assert_close(parameter.detach(), torch.tensor([-0.1, 0.1, -0.1, -0.1]), rtol=1e-3, atol=0)


def test_a_sudden_gradient_is_cut():
    def moved(values):
        parameter = torch.nn.Parameter(torch.zeros(1))
        optimizer = StableAdamW([parameter], lr=1.0, weight_decay=0.0)
        for value in values:
            before = parameter.detach().clone()
            parameter.grad = torch.tensor([value])
            optimizer.step()
        return float((parameter.detach() - before).abs())

    steady = [1e-3] * 200
    assert moved([*steady, 1.0]) < 0.2 < moved([*steady, 1e-3])


def test_state_comes_back():
    torch.manual_seed(0)
    gradients = [torch.randn(3) for _ in range(4)]

    def run(parts):
        parameter, state = torch.nn.Parameter(torch.ones(3)), None
        for part in parts:
            optimizer = StableAdamW([parameter], lr=0.01)
            if state is not None:
                optimizer.load_state_dict(state)
            for gradient in part:
                parameter.grad = gradient.clone()
                optimizer.step()
            state = optimizer.state_dict()
        return parameter.detach()

    assert torch.equal(run([gradients]), run([gradients[:2], gradients[2:]]))


def test_closure_and_parameters_that_join_later():
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = StableAdamW(parameters, lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = parameters[0].square().sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 2.0
    parameters[1].grad = torch.ones(2)
    optimizer.step()
    assert optimizer.state[parameters[0]]["step"] == 2
    assert optimizer.state[parameters[1]]["step"] == 1


def flags(**changes):
    values = {
        "lr": [2e-5],
        "stable_adamw_betas": "(0.9, 0.99)",
        "stable_adamw_eps": 1e-8,
        "weight_decay": 0.01,
    }
    return Namespace(**{**values, **changes})


def test_fairseqs_form():
    parameters = [torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))]
    optimizer = FairseqStableAdamW(flags(), parameters)
    assert optimizer.get_lr() == 2e-5
    assert optimizer.optimizer.param_groups[0]["betas"] == (0.9, 0.99)
    assert not optimizer.supports_flat_params
    with pytest.raises(DatasetError, match="two numbers"):
        FairseqStableAdamW(flags(stable_adamw_betas="0.9"), parameters)
    with pytest.raises(DatasetError, match="no-flatten"):
        FairseqStableAdamW(flags(), parameters[1:])
