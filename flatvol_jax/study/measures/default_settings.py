"""The measures' settings where nothing else is said: of the sweeps' configs and of fv.measure."""

from typing import Any

ON = ("log_volume", "log_volume_null", "sharpness", "sgd_sharpness", "hessian", "baselines")
"""The measures of a sweep; --config.measures.NAME.on=True adds one to a finished sweep."""


def default_settings() -> dict[str, dict[str, Any]]:
    """Return every measure with its settings."""
    return {
        "log_volume": {
            "links": ("heaviside", "probit"),
            "estimator": "certified",  # or "ep", "ep_corrected"
            "tolerance": 1e-4,  # nats, of EP's distance from its fixed point
            "particles": 64,  # of one replicate
            "replicates": 16,
        },
        "log_volume_null": {},
        "sharpness": {"epsilon": 1e-4, "method": "best"},
        # Table 1 of the paper, second line.
        "sgd_sharpness": {
            "epsilon": 1e-4,
            "batch_size": 32,
            "learning_rate": 1e-3,  # of the mean loss of a batch
            "epochs": 100,
            "reading": "full",  # or "minibatch"
            "mode": "evaluation",  # or "training", of a network with BatchNorm
            "drop_incomplete": False,
        },
        "hessian": {"k": 50},
        "baselines": {},
        "spectral_density": {"probes": 4, "depth": 80},
        "scale_invariant": {"rho": 1e-3, "average_rho": 0.05, "samples": 64},
        "basin_volume": {
            "criterion": "function",  # or "loss", "kl", up to cutoff, in nats
            "cutoff": 0.01,
            "directions": 64,
            "preconditioner": "curvature",  # or "none"
        },
        "learning_coefficient": {
            "step_size": 1e-4,
            "localization": 100.0,
            "batch_size": 128,
            "chains": 8,
            "steps": 1000,
            "burn_in": 500,
            "thin": 10,
        },
    }
