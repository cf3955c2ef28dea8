"""A figure as small SVG for the middle of a page: text as text, short numbers, small pictures."""

import base64
import io
import re

from PIL import Image

FONTS = "'DejaVu Sans', Verdana, 'Noto Sans', sans-serif"  # of about the same widths
QUALITY = 88  # of pictures of clouds of points
_PICTURE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")
_PATH = re.compile(r'\bd="([^"]*)"')
_COORDINATE = re.compile(r'\b(x|y|width|height)="(-?\d+\.\d+)"')
_LINE = re.compile(r"M (\S+) (\S+)\s*((?:\s*L \S+ \S+)+)\s*")


def compact_svg(svg: str) -> str:
    """Return the same picture in fewer bytes: a tenth of a point is kept, PNG becomes WebP.

    Lines become relative steps between rounded points, so that no rounding adds up.
    """
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = _PICTURE.sub(lambda match: _webp(match[1]), svg)
    svg = _PATH.sub(lambda match: f'd="{_short_path(match[1])}"', svg)
    svg = _COORDINATE.sub(lambda match: f'{match[1]}="{_short(match[2], 2)}"', svg)
    svg = svg.replace("'DejaVu Sans'", FONTS)
    return re.sub(r"\n\s*", "\n", svg)


def _webp(encoded: str) -> str:
    picture, buffer = Image.open(io.BytesIO(base64.b64decode(encoded))), io.BytesIO()
    picture.save(buffer, format="WEBP", quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _short_path(path: str) -> str:
    """Return a path with lines as relative steps, any other command with rounded numbers."""
    path = _LINE.sub(_relative_line, path)
    return re.sub(r"-?\d+\.\d{3,}", lambda match: _short(match[0], 2), path).strip()


def _relative_line(match: re.Match) -> str:
    numbers = [match[1], match[2], *match[3].replace("L", " ").split()]
    tenths = [round(10 * float(number)) for number in numbers]
    x, y = tenths[:2]
    steps = [f"M{_tenth(x)} {_tenth(y)}"]
    for right, down in zip(tenths[2::2], tenths[3::2], strict=True):
        if (right, down) != (x, y):
            steps.append(f"l{_tenth(right - x)} {_tenth(down - y)}")
            x, y = right, down
    if len(steps) == 1:
        steps.append("l0 0")  # a line of no length is a dot where its ends are round
    return "".join(steps) + " "


def _tenth(value: int) -> str:
    return _short(f"{value / 10:.1f}", 1)


def _short(number: str, digits: int) -> str:
    text = f"{float(number):.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-0.", "-.") or "0"
