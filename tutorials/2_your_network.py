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
# # 2. Measure your own Flax network
#
# You have a Flax module with one logit out, and parameters that fit a training set. This notebook gives you
# log V(f) with an error bar, the sharpness of the minimum, and the spectrum of the Hessian.

# %%
# On Colab this cell installs the library; elsewhere `make install` has done so.
import subprocess
import sys

REPOSITORY = ""  # the address that you clone the project from
if "google.colab" in sys.modules:
    subprocess.run(["git", "clone", "--depth=1", REPOSITORY, "flatvol_jax"], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-e", "flatvol_jax"], check=True)
    subprocess.run([*pip, "--no-deps", "neural-tangents==0.6.5"], check=True)
    sys.path.insert(0, "flatvol_jax")

# %%
import flax.linen as nn
import jax
import matplotlib.pyplot as plt
import numpy as np
import optax

import flatvol_jax as fv

# %% [markdown]
# ## A network of your own
#
# Two things are asked of the module: it sows the layer that the readout multiplies, here under the name
# `last_hidden`, and it is initialised as the prior says. With Dense's default initialisation a readout weight
# has variance 1 / fan_in and a bias 0, so `sigma_w=1, sigma_b=0`.


# %%
class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = nn.relu(nn.Dense(64)(x))
        h = nn.relu(nn.Dense(64)(h))
        self.sow("intermediates", "last_hidden", h)
        return nn.Dense(1, kernel_init=nn.initializers.lecun_normal(), name="readout")(h)


digits = fv.data.binarise(fv.data.load("mnist5k"), *fv.data.GROUPS["mnist_halves"])
order = np.random.default_rng(0).permutation(len(digits.x))
train, test = order[:200], order[200:500]
x, y = digits.x[train], digits.y[train]

# %% [markdown]
# Train it with whatever you use: here full-batch Adam, until no digit of S is wrong.

# %%
net = fv.FlaxModel(Net(), features="last_hidden", sigma_w=1.0, sigma_b=0.0)
params = net.init(jax.random.key(0), x.shape[1:])


def loss(p):
    return optax.sigmoid_binary_cross_entropy(net.apply(p, x), (y + 1) / 2).mean()


adam = optax.adam(1e-3)


@jax.jit
def step(p, state):
    updates, state = adam.update(jax.grad(loss)(p), state)
    return optax.apply_updates(p, updates), state


state = adam.init(params)
for epoch in range(1, 2001):
    params, state = step(params, state)
    if np.all((net.apply(params, x) > 0) == (y > 0)):
        break
print(f"no error on S after {epoch} steps, loss {loss(params):.3f}")

# %% [markdown]
# ## Ten lines
#
# f is the string of predicted labels on S and a test set E. Its kernel is estimated from freshly initialised
# networks (eq. 6); for `fv.FCN`, `fv.CNN` and anything of `neural_tangents.stax` it has a closed form. The estimate
# goes into `fv.log_volume` with its groups of samples, so that the error bar covers the kernel, too. The networks that
# are drawn are held against `features`, `sigma_w` and `sigma_b`: a wrong one is an error.

# %%
inputs = digits.x[np.concatenate([train, test])]
f = np.where(net.apply(params, inputs) > 0, 1, -1)
kernel = fv.monte_carlo_estimate(jax.random.key(1), net, inputs, samples=1000)
heaviside = fv.log_volume(kernel, f, method="certified", key=jax.random.key(2))
probit = fv.log_volume(kernel, f, link="probit", method="certified", key=jax.random.key(2))
sharp = fv.sharpness(loss, params, epsilon=1e-4)
hessian = fv.hessian_measures(jax.random.key(3), loss, params, k=10)

# %%
for link, volume in (("Heaviside", heaviside), ("probit", probit)):
    print(f"log V(f), {link}: {volume.log_volume:.2f} ± {volume.standard_error:.2f} nats")
    print(
        f"    ± {volume.kernel_error:.2f} of it the kernel's, ± {volume.sampling_error:.3f} sampling"
    )
    print(f"    {volume.status}; EP alone says {volume.ep:.2f}")
print(f"sharpness {sharp.value:.4f}, of which the gradient's part {sharp.first_order:.4f}")
print(f"spectral norm {hessian.spectral_norm:.3f}, trace {hessian.trace:.2f}")
print(f"Frobenius norm {hessian.frobenius_norm:.3f} ± {hessian.frobenius_norm_se:.3f}")
assert heaviside.log_volume < 0
assert abs(hessian.eigenvalues[0] - hessian.lambda_max) < 1e-6 * hessian.lambda_max

# %% [markdown]
# The two links are two definitions of the volume, not two estimates of one: probit flips labels with unit
# noise. Compare like with like.
#
# ## The spectrum

# %%
spectrum = fv.flatness.spectral_density(jax.random.key(4), loss, params, probes=4, depth=60)
top = hessian.eigenvalues[0]
points = np.linspace(-0.1 * top, 1.1 * top, 600)
density, error = spectrum.density(points, width=0.01 * top)
figure, axis = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
axis.semilogy(points, density, color="#0072b2", linewidth=1.2, label="density, mean of 4 probes")
axis.plot(
    hessian.eigenvalues, np.full(10, 2e-6), "|", color="#d55e00", markersize=12, label="largest ten"
)
axis.set(
    xlabel="eigenvalue of the Hessian of the mean loss",
    ylabel="density",
    ylim=(1e-6, 1e2),
    title="Most directions are flat",
)
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# ## The same function, elsewhere
#
# Multiply the first layer by 8 and divide the second by 8: a ReLU network stays the same function to the last
# bit, so its volume is the same number. Its sharpness is not.

# %%
layers = {
    "incoming": [("Dense_0", "kernel"), ("Dense_0", "bias")],
    "outgoing": [("Dense_1", "kernel")],
}
scaled = fv.flatness.rescale(params, **layers, alpha=8.0)
assert np.array_equal(net.apply(scaled, inputs), net.apply(params, inputs))
after = fv.sharpness(loss, scaled, epsilon=1e-4)
print(f"sharpness {sharp.value:.4f} -> {after.value:.4f}; log V stays {heaviside.log_volume:.2f}")
