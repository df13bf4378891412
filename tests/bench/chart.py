"""Draws a run's CPU per request and per chunk as bars, as SVG that reads on light and dark ground."""
import html

import report

WIDTH, LEFT, RIGHT, BAR, GAP, GROUP_GAP = 780, 225, 70, 13, 3, 16
COLOURS = {"tollgate": "#2f81f7", "against": "#8bb8f0", "nginx": "#57a773", "haproxy": "#b58a3c", "litellm": "#b0604f"}
INK = "#808890"  # 4:1 on white and on black alike


def text(x, y, what, anchor="start", size=12, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
            f'fill="{INK}">{html.escape(what)}</text>')


def bar(y, value, most, system):
    """One bar with its number; one that would leave the picture is cut, with a gap to show it."""
    room = WIDTH - LEFT - RIGHT
    length = min(value / most, 1) * room
    parts = [f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{COLOURS[system]}"/>']
    if value > most:
        parts.append(f'<path d="M{LEFT + room - 26} {y + BAR + 1} l6 {-BAR - 2}" stroke="{INK}" stroke-width="3"/>')
    parts.append(text(LEFT + length + 5, y + BAR - 2.5, report.number(value), size=11))
    return parts


def panel(f, top, title, names):
    """Bars of these scenarios, grouped; returns what it drew and where it ends."""
    parts = [text(LEFT, top + 12, title, weight="bold", size=13)]
    y = top + 24
    values = [f.median(n, s) for n in names for s in f.systems() if s != "litellm" and f.median(n, s)]
    most = max(values, default=1)
    for name in names:
        first = y
        for system in f.systems():
            value = f.median(name, system)
            if value is not None:
                parts += bar(y, value, most, system)
                y += BAR + GAP
        parts.append(text(LEFT - 10, (first + y) / 2 + 3, f.titles.get(name, name).replace(", per chunk", ""), "end"))
        y += GROUP_GAP
    return parts, y


def legend(f, y):
    parts, x = [], LEFT
    for system in f.systems():
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" rx="2" fill="{COLOURS[system]}"/>')
        parts.append(text(x + 17, y + 10.5, report.NAMES[system]))
        x += 30 + 8 * len(report.NAMES[system])
    return parts


def draw(results):
    f = report.Figures(results)
    parts = legend(f, 8)
    y = 34
    for title, chosen in (("CPU µs per request, all processes of each system", lambda n: n.startswith(("c=", "body=", "tls"))),
                          ("CPU µs per streamed chunk", lambda n: n.startswith("streams"))):
        names = [n for n in f.rounds if chosen(n)]
        if names:
            drawn, y = panel(f, y, title, names)
            parts += drawn
    about = f.about
    parts.append(text(LEFT, y + 8, f"{about['date']}, {about['processors']} processors, medians of {about['rounds']} interleaved round{'s' * (about['rounds'] > 1)}",
                      size=11))
    height = y + 20
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
            f'font-family="system-ui, sans-serif"><title>CPU per request and per chunk</title>\n' + "\n".join(parts) + "\n</svg>\n")
