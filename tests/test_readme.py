import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]


def test_the_notebook_cells_of_the_readme_run():
    cells = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(cells) == 6
    names = {}
    exec("\n".join(cells), names)
    assert names["found"].converged
    assert names["found"].status == "certified"
    assert set(np.unique(names["f"])) <= {-1, 1}


def test_the_rules_of_judgement_are_the_packages_own_file():
    assert "(flatvol_jax/study/VERDICTS.md)" in (ROOT / "README.md").read_text()
    assert (ROOT / "flatvol_jax/study/VERDICTS.md").read_text().startswith("## 6. Rules")
