"""Gradient equilibrium: the body sees the mean of the exits' gradients, heads their own."""

import torch
from models import ragged, tiny

from eat_lightning.methods.objective.gradient_equilibrium import GradientEquilibrium
from eat_lightning.methods.objective.joint import Joint
from eat_lightning.model.options import PassOptions
from eat_lightning.model.training import Context

LABELS = torch.tensor([0, 1, 2, 0, 1])


def gradients(objective, exits: list[int] | None = None) -> dict[str, torch.Tensor]:
    """Of all parameters, without dropout, for the losses of the exits named."""
    encoder = tiny(exit="confidence", dropout=0.0, attention_dropout=0.0).train()
    trace = encoder(ragged(), PassOptions(flow=objective.flow))
    guesses = {k: g for k, g in trace.guesses.items() if exits is None or k in exits}
    objective(Context(guesses, LABELS, 6)).total.backward()
    return {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}


def test_the_body_gets_the_mean_of_the_single_exits_gradients():
    found = gradients(GradientEquilibrium())
    each = [gradients(Joint(1.0, 1.0), [k]) for k in (3, 4, 6)]
    name = "layers.0.up.weight"  # below all three exits
    torch.testing.assert_close(found[name], sum(g[name] for g in each) / 3, atol=1e-6, rtol=1e-4)
    name = "layers.3.up.weight"  # layer 4: below the exits at 4 and 6
    torch.testing.assert_close(
        found[name], (each[1][name] + each[2][name]) / 2, atol=1e-6, rtol=1e-4
    )
    name = "layers.5.up.weight"
    torch.testing.assert_close(found[name], each[2][name], atol=1e-6, rtol=1e-4)


def test_heads_keep_their_own_gradient():
    found = gradients(GradientEquilibrium())
    for k in (3, 4, 6):
        alone = gradients(Joint(1.0, 1.0), [k])
        name = f"heads.{k}.classes.weight"
        torch.testing.assert_close(found[name], alone[name], atol=1e-6, rtol=1e-4)
