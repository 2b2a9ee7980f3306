"""Published figures: loss weights, the learned variance's loss, preconditioning, shifts, refusals."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from ldmkit_diffusion import objectives
from ldmkit_diffusion.continuous import EDM, Flow
from ldmkit_diffusion.discrete import Cosine, Linear, ScaledLinear, Sqrt
from ldmkit_diffusion.spacings import leading
from torch.distributions import Normal, kl_divergence

GENERATOR = torch.Generator().manual_seed(0)
PAPER = ScaledLinear(start=0.0015, end=0.0195)
T = torch.tensor([0, 10, 400, 700, 999]) / 999
LEVEL = PAPER.level(T)
SNR = (LEVEL.alpha / LEVEL.sigma) ** 2
CLEAN, NOISE, RAW = (torch.randn(5, 4, 8, 8, generator=GENERATOR) for _ in range(3))


def test_the_papers_loss_is_the_mean_square_of_the_noise_error():
    made = objectives.Epsilon(PAPER).loss(RAW, CLEAN, NOISE, LEVEL)
    torch.testing.assert_close(made, ((RAW - NOISE) ** 2).mean((1, 2, 3)))


def test_l1():
    made = objectives.Epsilon(PAPER, loss="l1").loss(RAW, CLEAN, NOISE, LEVEL)
    torch.testing.assert_close(made, (RAW - NOISE).abs().mean((1, 2, 3)))


@pytest.mark.parametrize(
    ("objective", "weight"),
    [
        (objectives.Epsilon(PAPER, weighting="min-snr"), SNR.clamp(max=5) / SNR),
        (objectives.Velocity(weighting="min-snr"), SNR.clamp(max=5) / (SNR + 1)),
        (objectives.Clean(weighting="min-snr"), SNR.clamp(max=5)),
        (objectives.Velocity(weighting="edm"), torch.ones(5).double()),
        (objectives.Clean(weighting="min-snr", gamma=1.0), SNR.clamp(max=1)),
    ],
)
def test_weights_as_published(objective, weight):
    torch.testing.assert_close(objective.weight(LEVEL), weight)


def test_min_snr_is_one_loss_whatever_the_network_gives():
    """The same clean error weighs the same through epsilon, x0, v, flow and EDM."""
    clean = CLEAN + 0.1 * NOISE.flip(0)
    noise = (LEVEL.add_noise(CLEAN, NOISE) - LEVEL.like(CLEAN).alpha * clean) / LEVEL.like(CLEAN).sigma
    losses = []
    for make in (objectives.Clean, objectives.Velocity, objectives.Flow, objectives.EDM):
        objective = make(weighting="min-snr")
        raw = objective.target(clean, noise, LEVEL.like(CLEAN))
        losses.append(objective.loss(raw, CLEAN, NOISE, LEVEL))
    raw = noise
    losses.append(objectives.Epsilon(PAPER, weighting="min-snr").loss(raw, CLEAN, NOISE, LEVEL))
    for other in losses[1:]:
        torch.testing.assert_close(other, losses[0], rtol=2e-3, atol=1e-6)


def test_edm_preconditioning_as_published():
    """Table 1 of Karras et al.: D = c_skip x + c_out F(c_in x), lambda (D - y)^2 is the loss."""
    s_d, objective = 0.5, objectives.EDM(sigma_data=0.5)
    level = EDM().level(torch.tensor([0.0, 0.3, 0.6, 0.8, 1.0]))
    s = level.sigma.float().view(-1, 1, 1, 1)
    z = CLEAN + s * NOISE
    denoised = s_d**2 / (s**2 + s_d**2) * z + s * s_d / (s**2 + s_d**2).sqrt() * RAW
    torch.testing.assert_close(objective.scale_input(z, level), z / (s**2 + s_d**2).sqrt())
    torch.testing.assert_close(objective.estimate(RAW, z, level).clean, denoised, rtol=1e-4, atol=1e-5)
    weight = (s**2 + s_d**2) / (s * s_d) ** 2
    published = (weight * (denoised - CLEAN) ** 2).mean((1, 2, 3))
    torch.testing.assert_close(objective.loss(RAW, CLEAN, NOISE, level), published, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(level.time, level.sigma.log() / 4)


def test_learned_range_loss_is_the_divergence_of_the_step_back():
    objective = objectives.Epsilon(PAPER, variance="learned-range")
    raw = torch.randn(5, 8, 8, 8, generator=GENERATOR)
    betas = 1 - (PAPER.alpha / torch.cat([torch.ones(1).double(), PAPER.alpha[:-1]])) ** 2
    made = objective.loss(raw, CLEAN, NOISE, LEVEL) - ((raw[:, :4] - NOISE) ** 2).mean((1, 2, 3))
    for i in range(1, 5):
        t = int(LEVEL.time[i])
        bar, before = PAPER.alpha[t] ** 2, PAPER.alpha[t - 1] ** 2
        beta, tilde = betas[t], betas[t] * (1 - before) / (1 - bar)
        factor = before.sqrt() * beta / (1 - bar)
        error = factor * (1 - bar).sqrt() / bar.sqrt() * (NOISE[i] - raw[i, :4])
        place = (raw[i, 4:] + 1) / 2
        std = ((1 - place) * tilde.log() + place * beta.log()).exp().sqrt()
        kl = kl_divergence(Normal(torch.zeros_like(error), tilde.sqrt()), Normal(error, std))
        torch.testing.assert_close(made[i].double(), kl.mean() / math.log(2), rtol=1e-3, atol=1e-4)


def test_the_bound_does_not_train_the_noise():
    raw = torch.randn(5, 8, 8, 8, generator=GENERATOR).requires_grad_()
    objectives.Epsilon(PAPER, variance="learned-range").loss(raw, CLEAN, NOISE, LEVEL).sum().backward()
    simple = raw.detach()[:, :4].clone().requires_grad_()
    objectives.Epsilon(PAPER).loss(simple, CLEAN, NOISE, LEVEL).sum().backward()
    torch.testing.assert_close(raw.grad[:, :4], simple.grad)
    assert raw.grad[:, 4:].abs().max() > 0


@pytest.mark.parametrize("schedule", [ScaledLinear(zero_snr=True), Cosine(zero_snr=True), Sqrt(), Flow()])
def test_epsilon_at_zero_snr_is_refused(schedule):
    with pytest.raises(ValueError, match="zero SNR"):
        objectives.Epsilon(schedule).check(schedule)
    for objective in (objectives.Velocity(), objectives.Clean(), objectives.Flow(), objectives.EDM()):
        objective.check(schedule)


def test_a_learned_range_needs_timesteps():
    with pytest.raises(ValueError, match="timesteps"):
        objectives.Epsilon(EDM(), variance="learned-range").check(EDM())


def test_tables_as_published():
    """alpha_bar of the text model's, the churches' and Ho et al.'s schedules, and of a cosine, at t = 999."""
    for schedule, last in (
        (ScaledLinear(start=0.00085, end=0.012), 0.0047),
        (Linear(start=1e-4, end=2e-2), 4.04e-5),
        (Cosine(), 2.43e-9),
    ):
        assert float(schedule.alpha[-1] ** 2) == pytest.approx(last, rel=0.01)
    assert float(1 - ScaledLinear(start=0.0015, end=0.0155).alpha[0] ** 2) == pytest.approx(0.0015)


def test_zero_snr_keeps_the_first_level():
    plain, rescaled = ScaledLinear(), ScaledLinear(zero_snr=True)
    assert rescaled.alpha[0] == pytest.approx(float(plain.alpha[0]))
    assert rescaled.alpha[-1] == 0
    assert not plain.zero_snr
    assert rescaled.zero_snr


def test_levels_survive_float32_times():
    t = torch.randint(1000, (500,), generator=GENERATOR)
    level = PAPER.level((t / 999).float())
    assert torch.equal(level.time, t.double())
    assert torch.equal(level.alpha, PAPER.alpha[t])


def test_flow_shift_grows_with_the_latent():
    t = torch.tensor([0.0, 0.25, 0.5, 1.0])
    schedule = Flow(shift=3.0, base=(64, 64))
    torch.testing.assert_close(schedule.level(t, (64, 64)).sigma, Flow(shift=3.0).level(t).sigma)
    torch.testing.assert_close(schedule.level(t, (128, 128)).sigma, Flow(shift=6.0).level(t).sigma)
    torch.testing.assert_close(Flow(shift=3.0).level(t).sigma[2], torch.tensor(0.75).double())


@pytest.mark.parametrize("schedule", [PAPER, Flow(sampling="uniform")])
def test_uniform_draws_are_uniform(schedule):
    t = schedule.draw(20000, torch.Generator().manual_seed(0))
    shares = torch.histc(t.float(), 10, 0, 1) / len(t)
    assert (shares - 0.1).abs().max() < 0.01


@pytest.mark.parametrize("schedule", [ScaledLinear(sampling="logit-normal"), Flow()])
def test_logit_normal_draws_favour_the_middle(schedule):
    t = schedule.draw(20000, torch.Generator().manual_seed(0))
    z = torch.logit(t.clamp(1e-3, 1 - 1e-3))
    assert float(z.mean()) == pytest.approx(0, abs=0.03)
    assert float(z.std()) == pytest.approx(1, abs=0.03)


def test_a_higher_mean_draws_noisier_timesteps():
    t = ScaledLinear(sampling="logit-normal", mean=0.8, std=0.5).draw(20000, torch.Generator().manual_seed(0))
    z = torch.logit(t.clamp(1e-3, 1 - 1e-3))
    assert float(z.mean()) == pytest.approx(0.8, abs=0.03)
    assert float(z.std()) == pytest.approx(0.5, abs=0.03)


def test_edm_draws_are_normal_in_log_sigma():
    schedule = EDM()
    log_sigma = schedule.level(schedule.draw(20000, torch.Generator().manual_seed(0))).sigma.log()
    assert float(log_sigma.mean()) == pytest.approx(-1.2, abs=0.03)
    assert float(log_sigma.std()) == pytest.approx(1.2, abs=0.03)


@pytest.mark.parametrize("spare", [False, True])
@pytest.mark.parametrize("steps", [1, 3, 30, 50, 999])
def test_leading_timesteps_stay_in_the_table_or_are_refused(steps, spare):
    """By counting: the largest offset whose timesteps, even or cut to whole parts, are all below T."""
    above = [k * (1000 // (steps + 1)) if spare else 1000 * (k - 1) // steps for k in range(1, steps + 1)]
    most = 999 - max(above)
    spaced = partial(leading, ScaledLinear(), steps, spare=spare)
    assert spaced(offset=most).time[:-1].flip(0).tolist() == [most + k for k in above]
    with pytest.raises(ValueError, match=rf"offset {most + 1} leads beyond .* at most {most}$"):
        spaced(offset=most + 1)
