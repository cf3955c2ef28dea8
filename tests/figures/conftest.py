import html.parser

import numpy as np
import pandas as pd
import pytest

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
