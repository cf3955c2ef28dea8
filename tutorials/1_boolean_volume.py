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
# # 1. The volume of your first function
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/flatvol_jax/blob/main/tutorials/1_boolean_volume.ipynb)
#
# Draw the parameters of a network at random and look at which function it is. Some functions come up
# all the time, most never do. The share of parameter space that maps to a function f,
#
#     V(f) = ∫ 1[the network with parameters w is f] P(w) dw,
#
# is its **volume**. Here it can simply be counted: a network with seven Boolean inputs is a function of
# 2^7 = 128 inputs, a string of 128 labels. At the end you compute the same volume without drawing a
# single network.

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
import jax
import matplotlib.pyplot as plt
import numpy as np

import flatvol_jax as fv

# %% [markdown]
# ## Count
#
# A quarter of a million networks 7-40-40-1. `functions` are rows of labels ±1, the most frequent first.

# %%
x = fv.data.load("boolean7").x
network = fv.FCN(width=(40, 40), sigma_w=1.0, sigma_b=0.1)
sample = fv.sample_functions(jax.random.key(0), network, x, samples=2**18, top=50)

for f, count, log_v, error in list(
    zip(sample.functions, sample.counts, sample.log_volume, sample.standard_error, strict=True)
)[:6]:
    ones = int((f > 0).sum())
    print(f"{count:6d} times, log V = {log_v:.3f} ± {error:.3f}: {ones} of 128 labels are +1")

# %% [markdown]
# The two constant functions lead. Exchanging all labels changes no volume, so they come in pairs.

# %%
share = sample.counts[:2].sum() / 2**18
print(f"the constants are {share:.3f} of all networks; of 2^128 functions, two")
assert {int(f.sum()) for f in sample.functions[:2]} == {-128, 128}

# %% [markdown]
# ## Compute
#
# A wide network's outputs are Gaussian, with a kernel that is known in closed form, the NNGP kernel
# K. Then V(f) is the probability that a Gaussian vector has the signs of f. No networks any more:
# expectation propagation (EP) approximates it, and sampling that is guided by EP gives an unbiased estimate
# with an error bar.

# %%
kernel = fv.nngp_kernel(network, x)
ep = fv.log_volume(kernel, sample.functions[:20])
estimate = fv.estimate_log_volume(jax.random.key(1), kernel, sample.functions[:20])
print("EP converged for", int(ep.converged.sum()), "of 20 functions")
print("EP minus estimate, nats:", np.round((ep.log_volume - estimate.log_volume).mean(), 3))

# %% [markdown]
# EP is a little low, and by nearly the same for all. The estimate and the count differ by their errors and by
# what 40 units differ from infinitely many.

# %%
counted, counted_error = sample.log_volume[:20], sample.standard_error[:20]
error = np.hypot(counted_error, estimate.standard_error)
far = np.abs(counted - estimate.log_volume) / error
print(f"counted against computed: off by {far.mean():.1f} standard errors on average")
assert np.corrcoef(counted, estimate.log_volume)[0, 1] > 0.95

# %%
figure, axis = plt.subplots(figsize=(5, 4.2), layout="constrained")
ends = [counted.min() - 0.3, counted.max() + 0.3]
axis.plot(ends, ends, color="#8a8a94", linewidth=1, label="equal")
axis.errorbar(
    estimate.log_volume,
    counted,
    xerr=2 * estimate.standard_error,
    yerr=2 * counted_error,
    fmt="o",
    markersize=4,
    color="#0072b2",
    label="sampling estimate, ± 2 s.e.",
)
axis.plot(ep.log_volume, counted, "D", markersize=4, color="#d55e00", mfc="none", label="EP")
axis.set(
    xlabel="log V(f) of the infinitely wide network, nats",
    ylabel="log V(f), counted in 262,144 networks",
    title="Twenty Boolean functions",
)
axis.legend(frameon=False)
axis.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# ## What it is good for
#
# On real data a function has far too small a volume to be counted, some e^-300, and the same two lines
# compute it: tutorial 2. Volumes fall steeply with the rank:

# %%
figure, axis = plt.subplots(figsize=(5, 3.4), layout="constrained")
axis.loglog(np.arange(1, 51), sample.counts / 2**18, ".", color="#0072b2")
axis.set(
    xlabel="rank of the function", ylabel="V(f), counted", title="Few functions, most of the volume"
)
axis.spines[["top", "right"]].set_visible(False)
