"""Write each tutorial's notebook, executed, with its outputs.

    python tutorials/run_notebooks.py                  # all
    python tutorials/run_notebooks.py 1_boolean_volume # these

The text is that of the .py beside it. Cells run in an empty folder, so that none depends on where the
notebook is opened. Progress bars and warnings (stderr) and times are not stored.
"""

import sys
import tempfile
from pathlib import Path

import jupytext
import nbclient
import nbformat

FOLDER = Path(__file__).parent


def executed(script: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a tutorial's cells in `folder` and return them as a notebook with outputs.

    Raises nbclient's CellExecutionError where a cell fails.
    """
    notebook = jupytext.read(script)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # jupytext draws one at random
    metadata = notebook.metadata.copy()
    client = nbclient.NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    notebook.metadata = metadata
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if not (output.output_type == "stream" and output.name == "stderr")
            ]
    return notebook


def main(names: list[str]) -> None:
    """Execute the tutorials of these names, all without any, and write their notebooks."""
    scripts = sorted(FOLDER.glob("[0-9]*.py"))
    for script in scripts:
        if not names or script.stem in names:
            with tempfile.TemporaryDirectory() as folder:
                notebook = executed(script, Path(folder))
            nbformat.write(notebook, script.with_suffix(".ipynb"))
            print(script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main(sys.argv[1:])
