# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Measure your own network
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/flatvol_jax/blob/main/tutorials/2_your_network.ipynb)
#
# You have a network with one logit out, in Flax, Equinox, Haiku or PyTorch, and arrays that it was trained on. This
# notebook gives you a table: log V(f) with an error bar, the sharpness of the minimum with its parts, the spectrum of
# the Hessian, measures that rescaling leaves alone, and what simpler quantities would have said.

# %%
# On Colab this cell installs the library; elsewhere `make install` has done so.
import subprocess
import sys

REPOSITORY = "https://github.com/OWNER/flatvol_jax"  # where you clone the project from
if "google.colab" in sys.modules:
    assert "/OWNER/" not in REPOSITORY, "put the address of the project into REPOSITORY"
    subprocess.run(["git", "clone", "--depth=1", REPOSITORY, "flatvol_jax"], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-e", "flatvol_jax"], check=True)
    subprocess.run([*pip, "--no-deps", "neural-tangents==0.6.5"], check=True)
    sys.path.insert(0, "flatvol_jax")

# %%
import importlib.util

import equinox as eqx
import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
import pandas as pd
from flax import nnx

import flatvol_jax as fv

# %% [markdown]
# ## Your arrays
#
# Inputs as the network sees them, labels -1 and +1. Here they are digits, 0 to 4 against 5 to 9, at a quarter of their
# resolution; put your own in their place.

# %%
digits = fv.data.load("mnist5k")
images = digits.x.reshape(-1, 14, 2, 14, 2).mean((2, 4))
mine = fv.data.from_arrays(images.reshape(-1, 196), digits.y, "small digits")
mine = fv.data.binarise(mine, (0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
order = np.random.default_rng(0).permutation(len(mine.x))
train, test = order[:100], order[100:300]
x, y, x_test, y_test = mine.x[train], mine.y[train], mine.x[test], mine.y[test]

# %% [markdown]
# ## Your networks
#
# `fv.as_model` takes each as it is, and prints what it found: the parameters that it has, how they are drawn, the
# readout's `sigma_w` and `sigma_b`.


# %%
class Net(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second, self.readout = (
            nnx.Linear(a, b, rngs=rngs) for a, b in ((196, 40), (40, 40), (40, 1))
        )

    def __call__(self, x):
        return self.readout(nnx.relu(self.second(nnx.relu(self.first(x)))))


networks = {
    "nnx": Net(nnx.Rngs(0)),
    "Equinox": eqx.nn.MLP(196, "scalar", 40, 2, key=jax.random.key(0)),
}

if importlib.util.find_spec("torchax"):  # pip install "flatvol-jax[torch]"
    import torch

    class Block(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.one = torch.nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.two = torch.nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.norm = torch.nn.BatchNorm2d(width)

        def forward(self, x):
            return torch.relu(x + self.norm(self.two(torch.relu(self.one(x)))))

    networks["PyTorch"] = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 14, 14)),
        torch.nn.Conv2d(1, 16, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        Block(16),
        torch.nn.AdaptiveAvgPool2d(4),
        torch.nn.Flatten(),
        torch.nn.Linear(256, 1),
    ).eval()

models = {name: fv.as_model(network, x) for name, network in networks.items()}
for model in models.values():
    print(model)

# %% [markdown]
# You come with trained weights; then `model.params` are they. These are not trained yet. A model is functions of its
# parameters, so one loop of full-batch Adam trains them all, until no label of S is wrong.


# %%
def trained(model):
    def loss(params):
        outputs = model.apply(params, x, model.state)
        return optax.sigmoid_binary_cross_entropy(outputs, (y + 1) / 2).mean(), outputs

    adam = optax.adam(2e-3)

    @jax.jit
    def step(params, state):
        slopes, outputs = jax.grad(loss, has_aux=True)(params)
        updates, state = adam.update(slopes, state)
        return optax.apply_updates(params, updates), state, outputs

    params, state = model.params, adam.init(model.params)
    for _ in range(2000):
        before = params
        params, state, outputs = step(params, state)
        if np.all((np.asarray(outputs) > 0) == (y > 0)):
            return before
    raise RuntimeError("some label of S is still wrong")


params = {name: trained(model) for name, model in models.items()}

# %% [markdown]
# ## The tables
#
# One call. The kernel of such a network is estimated from freshly initialised ones (eq. 6), and the error of that
# estimate is in the error bar of log V. `quick=True` leaves out the sampling and takes ten eigenvalues; without it a
# call takes a minute or two the first time, most of it compilation, and seconds the second. `progress=True` draws a
# bar.

# %%
found = {
    name: fv.measure(model, params[name], x, y, x_test, y_test, quick=True)
    for name, model in models.items()
}

# %%
found["nnx"]

# %%
found["Equinox"]

# %%
found.get("PyTorch", "PyTorch is not installed here")

# %% [markdown]
# Side by side, as data. Each number has a flat name, as in the records of a sweep.

# %%
for name, table in found.items():
    assert not table.failed, table.failed
    assert table["measure.error.train"] == 0
    print(f"{name}: log V = {table['measure.log_volume.heaviside']:.1f} nats by EP")
side_by_side = pd.DataFrame(
    {name: table.to_frame().set_index("measure")["value"] for name, table in found.items()}
)
side_by_side.round(4)

# %% [markdown]
# Compare volumes of networks on the same inputs, and one link with itself: Heaviside and probit are two definitions,
# not two estimates. The spectrum is among the arrays:

# %%
figure, axis = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
for name, table in found.items():
    axis.semilogy(table["measure.hessian.eigenvalues"], "o-", label=name)
axis.set(xlabel="rank", ylabel="eigenvalue of the Hessian", title="Few directions are steep")
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# ## From here
#
# - `fv.measure(..., measures={"sharpness": {"epsilon": 1e-3}}, leave_out=["hessian"])` changes and leaves out parts.
# - `fv.symmetry_audit(model, params, x, y)` rescales the network, which leaves its function alone, and says which
#   measures move.
# - `flatvol measure --module my_nets:Net --checkpoint DIR --data mine.npz` does the same on files.
# - [Your own data](../docs/own_data.md): a whole sweep on your arrays and your network.
