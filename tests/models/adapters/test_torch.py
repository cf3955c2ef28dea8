"""PyTorch modules through torchax: outputs, gradients and Hessian products to 1e-12; refusals."""

import importlib.util
import os

import jax
import numpy as np
import pytest

import flatvol_jax as fv

if importlib.util.find_spec("torchax") is None:
    pytest.skip(
        "PyTorch through torchax is not installed: pip install flatvol-jax[torch]",
        allow_module_level=True,
    )
torch = pytest.importorskip("torch", reason="pip install flatvol-jax[torch]")
nn = torch.nn
RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return torch.relu(x + self.second(torch.relu(self.norm(self.first(x)))))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU())
        self.blocks = nn.Sequential(Block(4), nn.MaxPool2d(2), Block(4))
        self.readout = nn.Linear(4, 1)

    def forward(self, x):
        return self.readout(
            nn.functional.adaptive_avg_pool2d(self.blocks(self.stem(x)), 1)[..., 0, 0]
        )


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.readout = nn.Linear(8, 1)

    def forward(self, x):
        return self.readout(self.encoder(self.embed(x)).mean(1)).squeeze(-1)


def mlp(inputs=6):
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 8), nn.GELU(), nn.Linear(8, 1)).eval()


CASES = {
    "mlp": (mlp, (6,)),
    "resnet": (lambda: ResNet().eval(), (1, 9, 9)),
    "transformer": (lambda: Encoder().eval(), (5, 3)),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_gradients_and_hessian_products_are_those_of_torch(case):
    build, shape = CASES[case]
    torch.manual_seed(1)
    module = build().double()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    x = RNG.normal(size=(4, *shape))
    model = fv.as_model(module, x)
    wanted = module(torch.tensor(x)).detach().numpy().reshape(4)
    params = dict(module.named_parameters())
    own = tuple(p.detach().clone().requires_grad_() for p in params.values())

    def torch_loss(*values):
        named = dict(zip(params, values, strict=True))
        z = torch.func.functional_call(module, named, (torch.tensor(x),)).reshape(4)
        return (nn.functional.softplus(z) ** 2).mean()

    with jax.enable_x64(True):

        def loss(p):
            return (jax.nn.softplus(model.apply(p, x, model.state)) ** 2).mean()

        found = np.asarray(model.apply(model.params, x, model.state))
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
        direction = {name: RNG.normal(size=p.shape) for name, p in params.items()}
        gradient, product = jax.jvp(jax.grad(loss), (model.params,), (direction,))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        torch_gradient = torch.autograd.grad(torch_loss(*own), own, create_graph=True)
        along = sum(
            (g * torch.tensor(direction[name])).sum()
            for name, g in zip(params, torch_gradient, strict=True)
        )
        torch_product = torch.autograd.grad(along, own)
    for name, g, h in zip(params, torch_gradient, torch_product, strict=True):
        np.testing.assert_allclose(gradient[name], g.detach().numpy(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(product[name], h.numpy(), rtol=1e-12, atol=1e-12)


def test_the_features_are_what_the_readout_multiplies():
    module = ResNet().eval()
    x = RNG.normal(size=(4, 1, 9, 9)).astype(np.float32)
    model = fv.as_model(module, x)
    with torch.no_grad():
        wanted = nn.functional.adaptive_avg_pool2d(module.blocks(module.stem(torch.tensor(x))), 1)
    features = model.features(model.params, x, model.state)
    np.testing.assert_allclose(features, wanted[..., 0, 0], rtol=1e-5, atol=1e-6)
    start = model.init_state((1, 9, 9))
    assert set(start) == {"stem.1.running_mean", "stem.1.running_var"} | {
        f"blocks.{i}.norm.running_{part}" for i in (0, 2) for part in ("mean", "var")
    }
    assert all((value == name.endswith("var")).all() for name, value in start.items())


def test_the_prior_is_reset_parameters_and_the_kernel_its_networks():
    x = RNG.normal(size=(8, 6)).astype(np.float32)
    model = fv.as_model(mlp(), x)
    assert model.sigma_w == pytest.approx(3**-0.5, rel=1e-12)
    assert model.sigma_b == pytest.approx((3 * 8) ** -0.5, rel=1e-12)
    kernel = fv.monte_carlo_estimate(KEY, model, x, samples=600)
    torch.manual_seed(3)
    inputs, squares = torch.tensor(x), []
    with torch.no_grad():
        for _ in range(2000):
            squares.append(mlp()(inputs).numpy()[:, 0] ** 2)
    squares = np.asarray(squares, np.float64)
    error = np.hypot(squares.std(0) / np.sqrt(2000), np.diagonal(kernel.standard_error))
    assert (np.abs(squares.mean(0) - np.diagonal(kernel.kernel)) < 4 * error).all()


def test_a_key_draws_one_network_and_leaves_the_generator_of_torch_alone():
    model = fv.as_model(mlp(), RNG.normal(size=(2, 6)))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = (model.init(jax.random.key(k), (6,)) for k in (0, 0, 1))
    jax.block_until_ready((first, same, other))
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(first["1.weight"], same["1.weight"])
    assert not np.array_equal(first["1.weight"], other["1.weight"])


def test_importing_torchax_leaves_settings_as_they_were():
    from flatvol_jax.models.adapters.torchax_import import torchax

    fast, variable = torch.backends.mha.get_fastpath_enabled(), os.environ.copy()
    torchax()
    model = fv.as_model(mlp(), RNG.normal(size=(2, 6)))
    model.apply(model.params, RNG.normal(size=(2, 6)))
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert os.environ == variable
    assert not jax.config.jax_enable_x64
    with pytest.raises(AttributeError):
        _ = torch.ops.aten.prod.no_such_overload


def test_inputs_of_another_precision_and_tokens():
    model = fv.as_model(mlp().double(), RNG.normal(size=(2, 6)).astype(np.float32))
    assert model.apply(model.params, RNG.normal(size=(2, 6)).astype(np.float32)).shape == (2,)
    tokens = RNG.integers(0, 10, size=(5, 4))
    model = fv.as_model(
        nn.Sequential(nn.Embedding(10, 3), nn.Flatten(), nn.Linear(12, 1)).eval(), tokens
    )
    assert model.apply(model.params, tokens).shape == (5,)


class Initialised(nn.Module):
    def __init__(self, outputs=1):
        super().__init__()
        self.hidden, self.readout = nn.Linear(6, 8), nn.Linear(8, outputs)
        nn.init.normal_(self.readout.weight, std=0.5)

    def forward(self, x):
        return self.readout(torch.tanh(self.hidden(x)))


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.readout = nn.Linear(6, 1)

    def forward(self, x):
        return self.readout(x * self.scale)


class Looks(nn.Module):
    def __init__(self):
        super().__init__()
        self.readout = nn.Linear(6, 1)

    def forward(self, x):
        return self.readout(x if x.sum().item() > 0 else -x)


class Holds(nn.Module):
    def __init__(self):
        super().__init__()
        self.readout, self.offset = nn.Linear(6, 1), torch.ones(6)

    def forward(self, x):
        return self.readout(x + self.offset)


class Custom(nn.Module):
    def __init__(self):
        super().__init__()
        self.readout = nn.Linear(6, 1)

    def forward(self, x):
        return self.readout(torch.ops.flatvol_test.twice(x))


def test_a_module_that_initialises_itself_is_drawn_by_what_builds_it():
    x = RNG.normal(size=(3, 6)).astype(np.float32)
    with pytest.raises(ValueError, match=r"Initialised initialises itself.*init=lambda: Initial"):
        fv.as_model(Initialised().eval(), x)
    with pytest.raises(ValueError, match="parameters of the module itself have no reset"):
        fv.as_model(Scaled().eval(), x)
    model = fv.as_model(Initialised().eval(), x, init=Initialised)
    assert model.sigma_w == pytest.approx(0.5 * 8**0.5, rel=0.01)
    assert "prior by init" in repr(model)
    with pytest.raises(ValueError, match=r"init: got a Linear from init\(\)"):
        fv.as_model(Initialised().eval(), x, init=lambda: nn.Linear(2, 2))


def test_what_cannot_be_measured_is_refused_with_what_to_pass():
    x = RNG.normal(size=(3, 6)).astype(np.float32)
    with pytest.raises(ValueError, match=r"in training mode.*\.eval\(\)"):
        fv.as_model(mlp().train(), x)
    with pytest.raises(ValueError, match=r"on meta, wanted it on the CPU.*module\.cpu\(\)"):
        fv.as_model(mlp().to("meta"), x)
    assert fv.as_model(Initialised(2).eval(), x, init=lambda: Initialised(2)).outputs == 2
    with pytest.raises(ValueError, match="params: got .*wanted None: a PyTorch module holds"):
        fv.as_model(mlp(), x, params={})
    with pytest.raises(ValueError, match=r"cannot be traced"):
        fv.as_model(Looks().eval(), x)
    with pytest.raises(ValueError, match="register_buffer"):
        fv.as_model(Holds().eval(), x)
    library = torch.library.Library("flatvol_test", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: 2 * x, "CPU")
    with pytest.raises(ValueError, match="An operation of your own"):
        fv.as_model(Custom().eval(), x)
