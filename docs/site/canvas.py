"""A drawing of a fixed width, light or dark, and axes on it.

The SVG is written by hand, so that the same rows give the same file on every machine. A picture is
360 wide, as the narrowest screen, with letters of 12.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 360, 40, 350
COLORS = {
    "light": {
        **{"ink": "#1c1d21", "muted": "#5f6269", "grid": "#d9dade", "paper": "#fefefe"},
        **{"blue": "#0072b2", "orange": "#d55e00", "pale": "#e6e8ed"},
    },
    "dark": {
        **{"ink": "#e8e9ec", "muted": "#a9acb4", "grid": "#3d4049", "paper": "#16181d"},
        **{"blue": "#56b4e9", "orange": "#ef8a3d", "pale": "#2d3038"},
    },
}


@dataclass
class Canvas:
    """Collects the parts of one SVG.

    `colors` is a scheme of COLORS. The `y` of a text is its baseline.
    """

    title: str
    height: int
    colors: dict[str, str]
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, color: str = "ink", anchor: str = "start"):
        place = f'x="{x:.1f}" y="{y:.1f}" fill="{self.colors[color]}" text-anchor="{anchor}"'
        self.parts.append(f"<text {place}>{escape(words)}</text>")

    def box(self, x: float, y: float, width: float, height: float, color: str) -> None:
        size = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self.parts.append(f'<rect {size} fill="{self.colors[color]}"/>')

    def dot(self, x: float, y: float, color: str, radius: float = 4) -> None:
        at = f'cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"'
        self.parts.append(f'<circle {at} fill="{self.colors[color]}"/>')

    def line(self, points: list[tuple[float, float]], color: str, dashed: bool = False) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        stroke = f'stroke="{self.colors[color]}" stroke-width="1.5"{dash}'
        self.parts.append(f'<polyline points="{path}" fill="none" {stroke}/>')

    def svg(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" '
            f'width="{WIDTH}" height="{self.height}" role="img" font-size="12" '
            'font-family="system-ui, sans-serif">'
        )
        paper = f'<rect width="100%" height="100%" rx="6" fill="{self.colors["paper"]}"/>'
        title = f"<title>{escape(self.title)}</title>"
        return "\n".join([head, title, paper, *self.parts, "</svg>\n"])


@dataclass(frozen=True)
class Axes:
    """Places of values on a canvas: cost from left to right, `low` at the bottom to `high`."""

    canvas: Canvas
    low: float
    high: float
    bottom: float
    top: float = 34

    def at(self, cost: float, value: float) -> tuple[float, float]:
        share = (value - self.low) / (self.high - self.low)
        return LEFT + (RIGHT - LEFT) * cost, self.bottom - (self.bottom - self.top) * share

    def draw(self, values: list[float], y_title: str) -> None:
        c = self.canvas
        for value in values:
            x, y = self.at(0, value)
            c.line([(x, y), (RIGHT, y)], "grid")
            c.text(x - 6, y + 4, f"{value:g}", "muted", "end")
        for cost in (0, 0.25, 0.5, 0.75, 1):
            c.text(self.at(cost, 0)[0], self.bottom + 16, f"{cost:g}", "muted", "middle")
        c.text((LEFT + RIGHT) / 2, self.bottom + 34, "cost: share of full FLOPs", "ink", "middle")
        c.text(8, 18, y_title)
