"""Records of every experiment, drawn from formulas: what pictures and reports are tested on."""

import collections
import html.parser

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.engine import records

BASELINES = ("gp_disagreement", "nn_disagreement", "label_norm", "margin", "parameter_norm")


def synthetic_records(seed, draws=10, optimizers=("sgd",), sizes=range(0, 501, 50), samples=5):
    """Records as an attack sweep writes them: error grows with |A|, log V falls with error."""
    generator = np.random.default_rng(seed)
    rows = []
    for optimizer in optimizers:
        for draw in range(draws):
            hardness = generator.normal(0, 0.01)
            for size in sizes:
                for sample in range(samples):
                    rows.append(_record(generator, optimizer, draw, size, sample, hardness))
    frame = pd.DataFrame(rows)
    frame["run_id"] = [f"{index:016x}" for index in range(len(frame))]
    stuck = generator.random(len(frame)) < 0.04
    frame["is.zero_error"] = ~stuck & True
    frame.loc[stuck, "measure.error.train"] = 0.01
    frame["is.ep_converged"] = generator.random(len(frame)) > 0.02
    frame["is.sharpness_converged"] = True
    frame["is.hessian_converged"] = True
    return frame


def _record(generator, optimizer, draw, size, sample, hardness):
    latent = generator.normal(0, 0.012)
    error = np.clip(0.12 + 0.0006 * size + hardness + latent, 0, 1)
    on_e1 = generator.binomial(1000, error) / 1000
    on_e2 = generator.binomial(3000, error) / 3000
    log_volume = -250 - 900 * on_e1 - 800 * latent + generator.normal(0, 5)
    sharp = -9 + 6 * on_e1 + generator.normal(0, 0.5 if optimizer == "sgd" else 2)
    row = {
        "epoch": int(generator.integers(40, 400)),
        "transform": "none",
        "hp.draw": draw,
        "hp.attack_size": size,
        "hp.sample": sample,
        "hp.train.optimizer": optimizer,
        "hp.train.learning_rate": 0.01,
        "hp.data.name": "mnist5k",
        "hp.data.train_size": 500,
        "hp.data.test_size": 1000,
        "measure.error.test": on_e1,
        "measure.error.second_test": on_e2,
        "measure.error.train": 0.0,
        "measure.log_volume.heaviside": log_volume,
        "measure.log_volume.heaviside.residual": 1e-7,
        "measure.log_volume.heaviside.corrected": log_volume + 0.55,
        "measure.log_volume.heaviside.estimate": log_volume + 0.5,
        "measure.log_volume.heaviside.estimate.se": 0.03,
        "is.correction_reliable.heaviside": True,
        "is.certified.heaviside": sample != 0,
        "measure.log_volume.probit": 0.7 * log_volume + generator.normal(0, 3),
        "measure.log_volume_null.heaviside": -400 - 1500 * on_e1 + generator.normal(0, 5),
        "measure.sharpness.best": np.exp(sharp),
        "measure.sharpness.sgd": 0.8 * np.exp(sharp + generator.normal(0, 0.2)),
        "measure.hessian.spectral_norm": 1e4 * np.exp(sharp + generator.normal(0, 0.3)),
        "measure.hessian.lambda_max": 1e4 * np.exp(sharp + generator.normal(0, 0.3)),
        "measure.hessian.log_product": 50 * sharp + generator.normal(0, 20),
        "measure.hessian.trace": 3e4 * np.exp(sharp),
        "measure.hessian.trace.se": 10.0,
        "measure.hessian.frobenius_norm": 2e4 * np.exp(sharp),
        "measure.baseline.epochs": int(100 + 5000 * error),
        "measure.bound.printed": -log_volume / 500,
        "measure.bound.random_split": -log_volume / np.log(3) / 1000,
        "meta.seconds": 1.25,
    }
    baseline = {f"measure.baseline.{n}": on_e1 + generator.normal(0, 0.02) for n in BASELINES}
    return row | baseline


@pytest.fixture(scope="session")
def ten_draws():
    return synthetic_records(0)


@pytest.fixture(scope="session")
def one_draw():
    return synthetic_records(1, draws=1)


def boolean_records(seed, functions=300, samples=10**7, widths=(10, 40, 160, None)):
    """Records of a Boolean experiment: V falls with the rank, flatness and complexity follow it.

    The last fifth was not trained for; one in ten of the others has no minimum. EP did not
    converge for rank 5; the function of rank 7 did not occur at width 10.
    """
    generator = np.random.default_rng(seed)
    log_volumes = np.log(0.1) - 1.1 * np.log(np.arange(1, functions + 1))
    rows = []
    for rank, log_volume in enumerate(log_volumes):
        rows += _boolean_function(generator, rank, functions, log_volume, samples)
        if rank < functions // 10:
            rows += _boolean_widths(generator, rank, log_volume, samples, widths)
    counts = [row["measure.count"] for row in rows if row["meta.part"] == "function"]
    counts = collections.Counter([*counts, *[1] * 40, 2, 2, 3])
    rows += [
        {
            "meta.part": "frequency",
            "frequency.count": count,
            "frequency.functions": functions,
            "meta.samples": samples,
        }
        for count, functions in sorted(counts.items())
    ]
    systems = ("boolean", "f1"), ("boolean", "f2"), ("mnist", "S=100")
    for system, target in systems:
        for optimizer in ("sgd", "adam"):
            rows += _boolean_posterior(generator, system, target, optimizer)
    return [{"meta.experiment": "boolean", **row} for row in rows]


def _boolean_function(generator, rank, functions, log_volume, samples):
    minority = 0 if rank < 2 else int(generator.integers(1, 9))
    sharp = -0.4 * log_volume + (minority % 2) + generator.normal(0, 0.3)
    se = float(1 / np.sqrt(samples * np.exp(log_volume)))
    row = {
        "meta.part": "function",
        "function.id": f"{rank:032x}",
        "function.rank": rank,
        "function.minority": minority,
        "measure.log_volume.direct": log_volume + se * generator.normal(),
        "measure.log_volume.direct.se": se,
        "measure.count": int(samples * np.exp(log_volume)),
        "meta.samples": samples,
        "measure.log_volume.estimate": log_volume + 0.02 * generator.normal(),
        "measure.log_volume.estimate.se": 0.02,
        "measure.log_volume.heaviside": log_volume + 0.2 + 0.1 * generator.normal(),
        "is.ep_converged": rank != 5,
        "measure.complexity.lempel_ziv": 3.5 * round(2 + 2 * generator.gamma(4) - log_volume),
    }
    if rank >= functions - functions // 5:
        return [row]
    minima = 0 if rank % 10 == 9 else 20
    row |= {"measure.minima": minima, "measure.minima.tried": 20}
    values = {
        "measure.sharpness.best": 1e-3 * np.exp(sharp),
        "measure.sharpness.sgd": 8e-4 * np.exp(sharp + generator.normal(0, 0.2)),
        "measure.hessian.spectral_norm": 10 * np.exp(sharp + generator.normal(0, 0.1)),
    }
    for name, value in values.items():
        row |= {name: float(value) if minima else None}
        row |= {f"{name}.se": float(0.07 * value) if minima else None}
    return [row]


def _boolean_widths(generator, rank, log_volume, samples, widths):
    rows = []
    for width in widths:
        shift = 0 if width is None else (-1) ** rank * 4 / width
        expected = samples * np.exp(log_volume + shift)
        count = 0 if rank == 7 and width == 10 else int(generator.poisson(expected))
        rows.append(
            {
                "meta.part": "width",
                "function.id": f"{rank:032x}",
                "function.rank": rank,
                "hp.model.width": width,
                "measure.log_volume.direct": float(np.log(count / samples)) if count else None,
                "measure.log_volume.direct.se": float(1 / np.sqrt(count)) if count else None,
                "measure.count": count,
                "meta.samples": samples,
            }
        )
    return rows


def _boolean_posterior(generator, system, target, optimizer, seeds=2000):
    keys = {"meta.system": system, "target.name": target, "hp.train.optimizer": optimizer}
    share = np.exp(-0.25 * np.arange(40))
    share /= share.sum()
    found = share ** (0.8 if optimizer == "adam" else 1)
    found = generator.multinomial(seeds, found / found.sum())
    rows = []
    for i in np.flatnonzero(found):
        row = {
            "meta.part": "posterior",
            **keys,
            "function.id": f"{i:032x}",
            "measure.count": int(found[i]),
            "measure.log_p_optimizer": float(np.log(found[i] / seeds)),
            "measure.log_p_optimizer.se": float(1 / np.sqrt(found[i])),
            "measure.log_p_bayes.nngp": float(np.log(share[i]) + generator.normal(0, 0.1)),
            "measure.log_p_bayes.nngp.se": 0.05,
        }
        if system == "boolean":
            count = generator.poisson(500 * share[i])
            row["measure.log_p_bayes.direct"] = float(np.log(count / 500)) if count else None
            row["measure.log_p_bayes.direct.se"] = float(count**-0.5) if count else None
        rows.append(row)
    summary = {
        "meta.part": "posterior_summary",
        **keys,
        "meta.seeds": seeds,
        "meta.zero_error": seeds - 13,
    }
    if system == "boolean":
        summary |= {
            "meta.matching": 500,
            "measure.log_p_train.direct": float(np.log(5e-5)),
            "measure.log_p_train.direct.se": 0.045,
        }
    for reference in ("direct", "nngp") if system == "boolean" else ("nngp",):
        summary |= {
            f"measure.slope.{reference}": 0.9 + 0.2 * float(generator.random()),
            f"measure.slope.{reference}.se": 0.031,
            f"measure.slope.{reference}.functions": 21,
            f"measure.total_variation.{reference}": 0.125 + 0.1 * float(generator.random()),
            f"measure.total_variation.{reference}.null": 0.083,
            f"measure.total_variation.{reference}.null.low": 0.061,
            f"measure.total_variation.{reference}.null.high": 0.107,
        }
    return [*rows, summary]


@pytest.fixture(scope="session")
def boolean(tmp_path_factory):
    """The records of a Boolean experiment as they are read from its workdir."""
    workdir = tmp_path_factory.mktemp("boolean")
    records.write_records(workdir, boolean_records(0))
    return records.load_records(workdir)


def temporal_records(networks=1, alphas=(5.9, 1 / 5.9), layers=(1,), epochs=12, after=5):
    """Records of a temporal study: f stays in scaling, and moves after it for alpha below 1."""
    rows = []
    for network in range(networks):
        zero = 4 + network
        event = zero + after
        common = {
            "run_id": f"{network:016x}",
            "hp.draw": 0,
            "hp.data.train_size": 500,
            "hp.data.test_size": 100,
            "measure.epochs.event": event,
            "meta.experiment": "temporal",
            "meta.scale": "fig5",
            "meta.epsilon": 1e-4,
            "is.diverged": False,
        }
        branches = [("none", None, None, 0)]
        branches += [
            (f"layer {layer}, alpha {alpha:g}", layer, alpha, event)
            for layer in layers
            for alpha in alphas
        ]
        for name, layer, alpha, start in branches:
            for epoch in range(start, event + epochs + 1):
                since = epoch - event
                thrown = alpha is not None and alpha < 1 and 0 < since < 4
                at_event = {0: "before" if alpha is None else "after"}.get(since)
                row = {
                    **common,
                    "epoch": epoch,
                    "transform": name,
                    "transform.layer": layer,
                    "transform.alpha": alpha,
                    "meta.event": at_event,
                    "measure.epochs.zero_error": zero if epoch >= zero else None,
                    "measure.error.train": 0.1 if thrown else max(0, (zero - epoch) / 10),
                    "measure.error.test": 0.2,
                    "measure.function.differs": None if since < 0 else 40 if thrown else 0,
                    "measure.log_volume.heaviside": -200 + max(0, zero - epoch) + 90 * thrown,
                    "measure.log_volume.probit": -300.0 + max(0, zero - epoch),
                    "measure.sharpness.best": (alpha or 1) ** (since < 3) * np.exp(-0.1 * epoch),
                    "measure.sharpness.best.1e-05": 0.1 * np.exp(-0.1 * epoch),
                    "measure.hessian.spectral_norm": 3 * np.exp(-0.1 * epoch)
                    if epoch % 2 == 0 or since == 0
                    else None,
                }
                if at_event == "after":
                    row |= {
                        "is.function_unchanged": True,
                        "measure.output.least": 0.03,
                        "measure.output.largest_change": 1e-6,
                    }
                rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def temporal_frame():
    """Makes the records of a temporal study."""
    return temporal_records


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.links, self.open, self.tables = [], [], [], 0

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes.get(k) for k in ("src", "href", "xlink:href") if k in attributes]
        self.tables += tag == "table"
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="session")
def tags_of():
    """The ids, links, tables of a page and the tags that it leaves open."""

    def read(page):
        tags = Tags()
        tags.feed(page)
        return tags

    return read
