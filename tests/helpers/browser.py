"""A page in a headless Chromium: what does not fit, what cannot be read, what the pointer finds.

python tests/helpers/browser.py PAGE.html ...    the same of any page, a line a fault
"""

import html
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell")
WIDTHS = (390, 1280)
WHEN_LOADED = """
onload = () => {
  const found = [...document.querySelectorAll("iframe")].map((frame) => {
    try { return measured(frame); }
    catch (error) { return {faults: [String(error.stack)], pointed: {}}; }
  });
  document.body.textContent = JSON.stringify(found);
};"""
MEASURE = Path(__file__).with_name("page_layout.js")


def chromium() -> str | None:
    """Return the path of a Chromium; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def looked_at(pages: Sequence[Path], dark: bool = False) -> list[dict[int, dict]]:
    """Open each page in frames of all widths; return what was found in each, by width.

    Returns:
        `faults`, of edges outside the screen, small words and weak contrast; `dark`, whether the
        paper is; `pointed`, what the first point of the first cloud shows; `links` of the
        navigation.
    """
    places = [(page, width) for page in pages for width in WIDTHS]
    frames = "".join(
        f'<iframe src="{page.resolve().as_uri()}" style="border:0;width:{width}px;height:900px">'
        "</iframe>"
        for page, width in places
    )
    script = MEASURE.read_text("utf-8") + WHEN_LOADED
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    options += ["--blink-settings=preferredColorScheme=0"] if dark else []
    with tempfile.TemporaryDirectory() as folder:
        outer = Path(folder) / "frames.html"
        outer.write_text(f"<body>{frames}<script>{script}</script></body>", "utf-8")
        command = [chromium(), *options, f"--user-data-dir={folder}/profile", "--dump-dom"]
        done = subprocess.run(
            [*command, outer.as_uri()], capture_output=True, text=True, timeout=300, check=True
        )
    body = done.stdout.partition("<body>")[2].rpartition("</body>")[0]
    found = json.loads(html.unescape(body))
    assert len(found) == len(places), "every frame is measured"
    each = iter(found)
    return [{width: next(each) for width in WIDTHS} for _ in pages]


def main(paths: list[str]) -> int:
    """Print the faults of each page in light and in dark; return their number."""
    count, pages = 0, list(map(Path, paths))
    for scheme in ("light", "dark"):
        for page, found in zip(pages, looked_at(pages, scheme == "dark"), strict=True):
            for width, one in found.items():
                count += len(one["faults"])
                for fault in one["faults"]:
                    print(f"{page} at {width}, {scheme}: {fault}")
    for page in pages:
        print(f"{page}: {page.stat().st_size / 1e6:.2f} MB")
    return count


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) > 0)
