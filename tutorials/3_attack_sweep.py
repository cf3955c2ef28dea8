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
# # 3. An attack-set sweep
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/flatvol_jax/blob/main/tutorials/3_attack_sweep.ipynb)
#
# How do you get networks that all fit S and generalise differently? Train some of them on wrongly labelled data
# as well, the **attack set** A. The larger A, the worse they do on unseen data. This notebook trains such a
# sweep, small, and asks which quantity tracks the error.

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
# %matplotlib inline
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import flatvol_jax as fv

# The configs are files of the repository and are not installed; the folder that you are in does not matter.
ROOT = Path(fv.__file__).parents[1]
assert (ROOT / "configs").exists(), "install the library from a clone: pip install -e FOLDER"
sys.path.insert(0, str(ROOT))

from configs import mnist_fcn
from flatvol_jax.study.report.scatter import attack_sweep_figure
from flatvol_jax.study.sweep import run_attack_sweep

# %% [markdown]
# A config says everything: data, network, training, measures. Here 36 networks, 100 digits to train on. `hp` is
# what determines a network; it is hashed to the name of a run.

# %%
config = mnist_fcn.get_config("smoke")
config.sweep.update(draws=3, attack_sizes=(0, 50, 100), samples=4)
config.measures.log_volume.update(estimator="ep", links=("heaviside",))
for name in ("sgd_sharpness", "hessian"):
    config.measures[name].on = False
workdir = tempfile.mkdtemp()
finished = run_attack_sweep(config.to_dict(), workdir)
print(len(finished), "networks")

# %% [markdown]
# The workdir tells the whole story, and the same call goes on where it was stopped. Records open in pandas:

# %%
records = fv.study.load_records(workdir)
columns = {
    "hp.draw": "draw",
    "hp.attack_size": "|A|",
    "measure.error.second_test": "error",
    "measure.log_volume.heaviside": "log V",
    "measure.sharpness.best": "sharpness",
    "is.zero_error": "fits S",
}
table = records[list(columns)].rename(columns=columns)
print(table.groupby("|A|")[["error", "log V", "sharpness"]].mean().round(3))
assert len(records) == 36

# %%
attack_sweep_figure(records)

# %% [markdown]
# ## The correlation that is easy to get
#
# Over all networks log V falls as the error rises: pooled, the correlation is strong. But A moves both, and it moves
# any quantity that counts errors. So there is a second reading, which compares networks of *one* draw and *one* size of
# A. `claims_table` has both, with intervals over draws, for log V, sharpness and baselines. Beside them stand a null,
# functions with as many errors at random places, and the ceiling: how well the error on E1 itself tells that on E2.

# %%
claims = fv.study.claims_table(records, scale="smoke")
print(
    claims[["measure", "within", "within_low", "within_high", "pooled", "runs"]]
    .round(2)
    .to_string(index=False)
)
volume = claims.set_index("measure").loc["log V (Heaviside)"]
assert volume["pooled"] < -0.5

# %%
figure, axis = plt.subplots(figsize=(6, 4.4), layout="constrained")
place = np.arange(len(claims))
axis.axvline(0, color="#8a8a94", linewidth=0.8)
for reading, label, mark, colour in (
    ("pooled", "pooled over |A|", "D", "#009e73"),
    ("within", "within |A|", "o", "#1b1b1f"),
):
    low, high = (claims[f"{reading}_{end}"] for end in ("low", "high"))
    ends = [claims[reading] - low, high - claims[reading]]
    axis.errorbar(claims[reading], place, xerr=ends, fmt=mark, color=colour, label=label)
axis.set_yticks(place, claims["measure"])
axis.invert_yaxis()
axis.set(xlabel="Spearman's ρ with the error on unseen digits", xlim=(-1.05, 1.05))
axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.15), ncols=2)
axis.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# Three draws decide nothing: the verdict says so.

# %%
for row in claims[claims["family"] == "primary"].itertuples():
    print(row.claim)
    print(f"    as the paper measures it: {row.pooled_verdict} ({row.pooled_reason})")
    print(f"    within |A|: {row.within_verdict} ({row.within_reason})")
assert set(claims["within_verdict"].dropna()) == {"undecided at this scale"}
