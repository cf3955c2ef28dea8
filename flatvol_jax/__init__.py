"""Which quantity predicts that a network generalises? `import flatvol_jax as fv`."""
