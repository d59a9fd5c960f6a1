#!/usr/bin/env python3
# Medians over the rounds of results.tsv as a Markdown table and SVG plots.
#
#     report.py RESULTS.TSV DIRECTORY
#
# Writes table.md, single.svg (ratios to the reference, one thread), load.svg (operations per second of all threads and
# processes) and find.svg (finding a key as keys grow).
import csv
import math
import os
import statistics
import sys
from collections import defaultdict
from xml.sax.saxutils import escape

REFERENCE = "softhsm2"
OURS = "cmkd"
COLOURS = ["#1b6ca8", "#5fa8d3", "#a9d6e5", "#d1495b", "#edae49", "#66a182"]


def read(path):
    rows = defaultdict(list)
    with open(path, newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            key = (row["case"], int(row["threads"]), int(row["processes"]), int(row["keys"]), row["contender"])
            rows[key].append({name: float(row[name]) for name in ("p50", "p90", "p99", "per_second", "mb_per_second")})
    return {key: {name: statistics.median(run[name] for run in runs) for name in runs[0]} for key, runs in rows.items()}


def in_order(values):
    return list(dict.fromkeys(values))


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def tables(figures, contenders):
    others = [name for name in contenders if name != REFERENCE]
    lines = ["One thread: p50 in microseconds of the reference, then p50 of each as a ratio to it "
             "(and p99 as a multiple of its own p50).", "",
             "| case | " + REFERENCE + " µs | " + " | ".join(others) + " |", "|---|--:|" + "--:|" * len(others)]
    for case in in_order(k[0] for k in figures if k[1:4] == (1, 1, 0)):
        reference = figures.get((case, 1, 1, 0, REFERENCE))
        if reference is None:
            continue
        cells = []
        for name in others:
            mine = figures.get((case, 1, 1, 0, name))
            cells.append("" if mine is None else f"{mine['p50'] / reference['p50']:.2f} ({mine['p99'] / mine['p50']:.1f})")
        lines.append(f"| {case} | {number(reference['p50'])} ({reference['p99'] / reference['p50']:.1f}) | " +
                     " | ".join(cells) + " |")
    lines += ["", "Several at once: operations per second of all together, as a ratio to the reference's with the same load, "
              "and to the contender's own with one thread.", "",
              "| case | threads × processes | " + " | ".join(contenders) + " |", "|---|---|" + "--:|" * len(contenders)]
    for case, threads, processes in in_order(k[:3] for k in figures if k[1] * k[2] > 1):
        reference = figures.get((case, threads, processes, 0, REFERENCE))
        cells = []
        for name in contenders:
            mine = figures.get((case, threads, processes, 0, name))
            alone = figures.get((case, 1, 1, 0, name))
            if mine is None or reference is None or alone is None:
                cells.append("")
                continue
            cells.append(f"{mine['per_second'] / reference['per_second']:.2f} "
                         f"({mine['per_second'] / alone['per_second']:.2f})")
        lines.append(f"| {case} | {threads} × {processes} | " + " | ".join(cells) + " |")
    lines += ["", "Growth: p50 with so many keys on the token, as a ratio to the reference's with the most keys that it had.",
              "", "| case | keys | " + " | ".join(contenders) + " |", "|---|--:|" + "--:|" * len(contenders)]
    most = max((k[3] for k in figures if k[4] == REFERENCE), default=0)
    for case, keys in in_order((k[0], k[3]) for k in figures if k[3] > 0):
        reference = figures.get((case, 1, 1, most, REFERENCE))
        cells = []
        for name in contenders:
            mine = figures.get((case, 1, 1, keys, name))
            cells.append("" if mine is None or reference is None else f"{mine['p50'] / reference['p50']:.2g}")
        lines.append(f"| {case} | {keys:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


class Svg:
    def __init__(self, width, height, title):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
                      f'height="{height}" font-family="sans-serif" font-size="12">',
                      f'<rect width="{width}" height="{height}" fill="white"/>']
        self.text(10, 20, title, weight="bold")

    def text(self, x, y, text, anchor="start", weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
                          f"{escape(text)}</text>")

    def bar(self, x, y, width, height, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}" fill="{colour}"/>')

    def line(self, points, colour, dash=""):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" '
                          f'stroke-dasharray="{dash}"/>')

    def write(self, path):
        with open(path, "w") as file:
            file.write("\n".join(self.parts + ["</svg>"]) + "\n")


def bars(path, title, groups, contenders, unit_at_one):
    """Horizontal bars on a logarithmic scale; groups: (label, {contender: value})."""
    values = [v for _, row in groups for v in row.values() if v > 0]
    if not values:
        return
    low, high = min(values + [1]) / 1.5, max(values + [1]) * 1.5
    left, width, step = 190, 640, 13
    height = 60 + sum(step * len(row) + 12 for _, row in groups)
    svg = Svg(left + width + 70, height + 20, title)

    def at(value):
        return left + width * (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))

    for i, name in enumerate(contenders):
        svg.bar(left + i * 125, 30, 10, 10, COLOURS[i % len(COLOURS)])
        svg.text(left + i * 125 + 14, 39, name)
    y = 55
    for label, row in groups:
        svg.text(left - 8, y + step * len(row) / 2 + 4, label, anchor="end")
        for i, name in enumerate(contenders):
            if name not in row:
                continue
            svg.bar(left, y, at(row[name]) - left, step - 2, COLOURS[i % len(COLOURS)])
            svg.text(at(row[name]) + 4, y + 10, number(row[name]))
            y += step
        y += 12
    if unit_at_one:
        svg.line([(at(1), 48), (at(1), height)], "#444", "4 3")
    svg.write(path)


def growth(path, figures, contenders):
    lines = {name: sorted((k[3], v["p50"]) for k, v in figures.items() if k[0] == "find-label" and k[4] == name)
             for name in contenders}
    points = [p for line in lines.values() for p in line]
    reference = max(lines.get(REFERENCE) or [(1, 1)])[1]
    if not points:
        return
    left, top, width, height = 70, 50, 560, 300
    x_low, x_high = math.log(min(p[0] for p in points)), math.log(max(p[0] for p in points) * 1.01)
    y_low, y_high = math.log(min(p[1] for p in points) / reference / 2), math.log(2)
    svg = Svg(left + width + 150, top + height + 40, "Find by label: time as keys grow (SoftHSM2 with the most keys = 1)")

    def place(keys, value):
        return (left + width * (math.log(keys) - x_low) / (x_high - x_low),
                top + height * (y_high - math.log(value / reference)) / (y_high - y_low))

    svg.line([(left, top), (left, top + height), (left + width, top + height)], "#444")
    for i, name in enumerate(contenders):
        if not lines[name]:
            continue
        at = [place(*p) for p in lines[name]]
        svg.line(at, COLOURS[i % len(COLOURS)])
        svg.text(at[-1][0] + 6, at[-1][1] + 4, name)
    for keys in in_order(sorted(p[0] for p in points)):
        svg.text(place(keys, reference)[0], top + height + 18, f"{keys:,}", anchor="middle")
    for value in (1, 0.1, 0.01, 0.001, 0.0001):
        y = place(1, value * reference)[1] if x_high > x_low else top
        if top <= y <= top + height:
            svg.text(left - 6, y + 4, f"{value:g}", anchor="end")
    svg.write(path)


def main():
    source, out = sys.argv[1], sys.argv[2]
    figures = read(source)
    contenders = in_order(k[4] for k in figures)
    with open(os.path.join(out, "table.md"), "w") as file:
        file.write(tables(figures, contenders))
    single = []
    for case in in_order(k[0] for k in figures if k[1:4] == (1, 1, 0)):
        reference = figures.get((case, 1, 1, 0, REFERENCE))
        if reference:
            single.append((case, {n: figures[(case, 1, 1, 0, n)]["p50"] / reference["p50"] for n in contenders
                                  if (case, 1, 1, 0, n) in figures}))
    bars(os.path.join(out, "single.svg"), "One thread: time of one run, SoftHSM2 in process = 1 (shorter is better)", single,
         contenders, True)
    load = []
    for case, threads, processes in in_order(k[:3] for k in figures if k[1] * k[2] > 1):
        reference = figures.get((case, threads, processes, 0, REFERENCE))
        if reference:
            load.append((f"{case}, {threads} × {processes}",
                         {n: figures[(case, threads, processes, 0, n)]["per_second"] / reference["per_second"]
                          for n in contenders if (case, threads, processes, 0, n) in figures}))
    bars(os.path.join(out, "load.svg"), "Threads × processes: operations a second, SoftHSM2 = 1 (longer is better)", load,
         contenders, True)
    growth(os.path.join(out, "find.svg"), figures, contenders)


if __name__ == "__main__":
    main()
