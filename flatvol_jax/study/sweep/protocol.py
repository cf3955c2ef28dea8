"""How a config departs from the paper's protocol, in words for the top of a report."""

from collections.abc import Mapping
from typing import Any

from flatvol_jax.training import OPTIMIZERS, TrainSettings

_WORDS = {
    "loss": "the loss of a minibatch is its {value}, not its {protocol}",
    "stop": "training stops without error on {value}, not on {protocol}",
    "order": "the order of examples is {value}, not {protocol}",
    "learning_rate": "the learning rate of {optimizer} is {value:g}, not {protocol:g}",
}
_SETS = {"train": "S", "train_and_attack": "S and A"}


def departures(config: Mapping[str, Any]) -> list[str]:
    """Return what of the training and the draws is not the paper's protocol, one phrase each.

    The protocol is that of the code which the paper's authors published with it: the mean loss of
    a minibatch, its learning rates, examples shuffled every epoch, a stop at zero error on S alone;
    and draws that share no example. A rate that belongs to the mean loss, given to the summed one,
    is named as such: the step is as many times larger as a minibatch has examples.

    Args:
        config: plain data of a sweep; an entry that is missing has its older meaning. Without
            training there is nothing to depart from.
    """
    train, sweep = config.get("hp", {}).get("train", {}), config.get("sweep", {})
    optimizer = train.get("optimizer")
    if optimizer not in OPTIMIZERS:
        return []
    rates = OPTIMIZERS[optimizer].defaults
    protocol = {name: getattr(TrainSettings(), name) for name in ("loss", "stop", "order")}
    protocol["learning_rate"] = rates["learning_rate"]
    older = {"stop": "train_and_attack"}
    found = []
    for name, wanted in protocol.items():
        value = train.get(name, older.get(name, wanted))
        if value is not None and value != wanted:
            words = {"value": _SETS.get(value, value), "protocol": _SETS.get(wanted, wanted)}
            found.append(_WORDS[name].format(optimizer=optimizer, **words))
    if train.get("loss") == "sum" and train.get("learning_rate") in (None, rates["learning_rate"]):
        found.append(f"the summed loss has the rate of the mean one, {rates['learning_rate']:g}")
    if config["hp"].get("data", {}).get("draws") != "disjoint" and sweep.get("draws", 1) > 1:
        found.append(f"its {sweep['draws']} draws may share examples")
    return found


def protocol_note(config: Mapping[str, Any]) -> str:
    """Return one sentence that names every departure; empty where there is none."""
    found = departures(config)
    return f"Not the paper's protocol: {'; '.join(found)}." if found else ""
