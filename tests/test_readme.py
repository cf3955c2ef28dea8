import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_cells(page, count):
    """The names that are there after the Python cells of a page."""
    cells = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert len(cells) == count
    names = {}
    exec("\n".join(cells), names)
    return names


def test_the_ten_lines_of_the_readme_run():
    volume = run_cells("README.md", 1)["volume"]
    assert volume.converged
    assert volume.status == "certified given this kernel"
    assert volume.standard_error > 0


def test_the_table_of_claims_is_that_of_the_records():
    readme = (ROOT / "README.md").read_text()
    _, table, _ = re.split(r"<!-- .*claims.* -->\n", readme)
    assert table.strip() == (ROOT / "results" / "claims.md").read_text().strip()


def test_the_rules_of_judgement_are_the_packages_own_file():
    assert "(flatvol_jax/study/VERDICTS.md)" in (ROOT / "README.md").read_text()
    assert (ROOT / "flatvol_jax/study/VERDICTS.md").read_text().startswith("# Rules of judgement")


def test_the_tables_of_the_findings_are_those_of_the_records():
    known = set((ROOT / "results" / "measures.md").read_text().splitlines())
    quoted = [
        line.strip()
        for line in (ROOT / "docs" / "findings.md").read_text().splitlines()
        if re.search(r"\| [+-][0-9.]+ \[", line)
    ]
    assert len(quoted) > 9
    assert not set(quoted) - known
