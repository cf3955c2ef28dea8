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
# # 4. Bring weights from PyTorch
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/flatvol_jax/blob/main/tutorials/4_pytorch_weights.ipynb)
#
# Trained elsewhere, measured here. PyTorch is not needed in this environment: weights travel as plain arrays.
#
# In the environment that has PyTorch, for `nn.Sequential(Linear(784, 40), ReLU(), Linear(40, 40), ReLU(), Linear(40, 1))`:
#
# ```python
# np.savez("network.npz", **{name: w.detach().cpu().numpy() for name, w in model.state_dict().items()})
# ```
#
# which gives `0.weight` (40, 784), `0.bias` (40,), `2.weight`, `2.bias`, `4.weight` (1, 40), `4.bias`.

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
import tempfile
from pathlib import Path

import jax
import numpy as np
import optax

import flatvol_jax as fv
from flatvol_jax.training import TrainSettings, train_ensemble

# %% [markdown]
# So that this notebook runs by itself, here is a file as PyTorch would have written it: the same names and shapes,
# PyTorch's layout (out, in), from a network trained with the library.

# %%
digits = fv.data.binarise(fv.data.load("mnist5k"), *fv.data.GROUPS["mnist_halves"])
order = np.random.default_rng(1).permutation(len(digits.x))
train, test = order[:200], order[200:400]
x, y = digits.x[train], digits.y[train]
spec = fv.FCN(width=(40, 40))
trained = train_ensemble(
    jax.random.split(jax.random.key(0), 1),
    spec,
    x,
    y,
    np.ones((1, len(x)), bool),
    TrainSettings(optimizer="adam", loss="mean"),
    train_size=len(x),
)
arrays = spec.params_to_arrays(jax.tree.map(lambda leaf: leaf[0], trained.params))
names = ("0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias")
file = Path(tempfile.mkdtemp()) / "network.npz"
np.savez(file, **{name: array.T for name, array in zip(names, arrays, strict=True)})

# %% [markdown]
# ## Convert
#
# `fv.FCN` takes `x @ W + b`, PyTorch's Linear is `x @ W.T + b`: one transpose a layer.

# %%
state = np.load(file)
print({name: state[name].shape for name in state.files})
params = spec.params_from_arrays(*(state[name].T for name in names))

# %% [markdown]
# Always verify with a forward pass in the other convention, in NumPy:


# %%
def torch_forward(state, x):
    h = x.astype(np.float64)
    for layer in ("0", "2", "4"):
        h = h @ state[f"{layer}.weight"].T.astype(np.float64) + state[f"{layer}.bias"]
        h = h if layer == "4" else np.maximum(h, 0)
    return h[:, 0]


inputs = digits.x[np.concatenate([train, test])]
ours = np.asarray(spec.apply(params, inputs))
np.testing.assert_allclose(ours, torch_forward(state, inputs), rtol=1e-4, atol=1e-4)
f = np.where(ours > 0, 1, -1)
print("errors on S:", int((f[:200] != y).sum()), " on E:", int((f[200:] != digits.y[test]).sum()))

# %% [markdown]
# Sigma of the prior: PyTorch's Linear initialises uniformly within ±1/√fan_in, a weight variance of 1 / (3 fan_in), so
# `sigma_w² = 1/3`. The volume belongs to a prior; say which. Below the library's default, √2 and 1, and PyTorch's,
# whose bias has that variance too and so shrinks with the width; it is left out here.

# %%
for prior in (spec, fv.FCN(width=(40, 40), sigma_w=3**-0.5, sigma_b=0.0)):
    kernel = fv.nngp_kernel(prior, inputs)
    volume = fv.log_volume(kernel, f, method="certified", key=jax.random.key(1))
    print(
        f"sigma_w = {prior.sigma_w:.2f}, sigma_b = {prior.sigma_b:.2f}: "
        f"log V = {volume.log_volume:.2f} ± {volume.standard_error:.2f} nats, {volume.status}"
    )


# %%
def loss(p):
    return optax.sigmoid_binary_cross_entropy(spec.apply(p, x), (y + 1) / 2).mean()


print(f"sharpness {fv.sharpness(loss, params, epsilon=1e-4).value:.4f}")

# %% [markdown]
# ## And back
#
# An alpha-scaled copy, the same function to the last bit, in PyTorch's layout:

# %%
scaled = fv.alpha_scale(spec, params, layer=1, alpha=4.0)
assert np.array_equal(spec.apply(scaled, inputs), spec.apply(params, inputs))
back = {name: a.T for name, a in zip(names, spec.params_to_arrays(scaled), strict=True)}
np.testing.assert_allclose(
    torch_forward(back, inputs), torch_forward(state, inputs), rtol=1e-4, atol=1e-4
)
print(
    f"sharpness of the same function, scaled: {fv.sharpness(loss, scaled, epsilon=1e-4).value:.4f}"
)

# %% [markdown]
# A convolution's weight is (out, in, height, width) in PyTorch and (height, width, in, out) in Flax:
# `w.transpose(2, 3, 1, 0)`. Images are (n, height, width, channels) here, so the first Linear after a flatten needs its
# columns reordered as well.
