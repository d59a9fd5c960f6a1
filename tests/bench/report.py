#!/usr/bin/env python3
# Tables and SVG plots of what compare.sh measured: medians over the rounds.
#
#     report.py RESULTS.TSV DIRECTORY [DOCS]
#
# Writes table.md and the plots single, load, find, versions and clients into DIRECTORY; memory.tsv, store.tsv and
# facts.tsv are read from beside RESULTS.TSV, where they are there. With DOCS the tables also take the place of what stands
# between "<!-- bench: NAME -->" and "<!-- /bench -->" in DOCS/performance.md, and the plots that of DOCS/performance-*.svg.
import csv
import math
import os
import re
import statistics
import sys
from collections import defaultdict, namedtuple
from xml.sax.saxutils import escape

REFERENCE = "softhsm2"
OURS = "cmkd"
STRICT = "cmkd-strict"  # measured for the table of protection only
FLOOR = "floor"  # the machine itself: cmkd-bench --floor
COLOURS = ["#1b6ca8", "#5fa8d3", "#a9d6e5", "#d1495b", "#edae49", "#66a182", "#8d6a9f"]
LOADED = ("gcm-32", "hmac-64", "ecdsa-p256")

Key = namedtuple("Key", "case threads processes keys versions idle contender")


def rows_of(path):
    if not os.path.exists(path):
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


class Results:
    """Medians over the rounds, by everything that says what was measured."""

    def __init__(self, path):
        runs = defaultdict(list)
        for row in rows_of(path):
            where = Key(row["case"], *(int(row[name]) for name in Key._fields[1:6]), row["contender"])
            runs[where].append({name: float(row[name]) for name in
                                ("p50", "p90", "p99", "p999", "slow_share", "per_second", "mb_per_second")})
        self.figures = {where: {name: statistics.median(run[name] for run in rounds) for name in rounds[0]} |
                        {"least": min(run["p50"] for run in rounds)} for where, rounds in runs.items()}
        self.contenders = [name for name in in_order(where.contender for where in self.figures) if name not in (STRICT, FLOOR)]
        beside = os.path.dirname(path)
        self.memory = {row["what"]: row for row in rows_of(os.path.join(beside, "memory.tsv"))}
        self.store = {int(row["keys"]): {name: float(value) for name, value in row.items()}
                      for row in rows_of(os.path.join(beside, "store.tsv"))}
        self.facts = {row["fact"]: row["value"] for row in rows_of(os.path.join(beside, "facts.tsv"))}

    def get(self, case, contender, threads=1, processes=1, keys=0, versions=0, idle=0):
        return self.figures.get(Key(case, threads, processes, keys, versions, idle, contender))

    def ratio(self, case, contender, what="p50", **load):
        mine, reference = self.get(case, contender, **load), self.get(case, REFERENCE, **load)
        return mine[what] / reference[what] if mine and reference else None

    def values(self, field, **fixed):
        """What a field of the keys was in the measurements with these others, in their order."""
        return in_order(getattr(where, field) for where in self.figures
                        if all(getattr(where, name) == value for name, value in fixed.items()))


def in_order(values):
    return list(dict.fromkeys(values))


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(heads, rows, left=1):
    if not rows:
        return ""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * left + "--:|" * (len(heads) - left)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


# ---- The tables, by their names in the document


def is_whole(results):
    """Whether it is more than single parts of a run, so that it may say what all tables are from."""
    return bool(results.ratio("gcm-32", OURS) and loads(results))


def run(results):
    facts = results.facts
    if not facts or not is_whole(results):
        return ""
    return (f"Measured on {facts['date']}: {facts['processors']} processors ({facts['model']}), Linux {facts['kernel']}, "
            f"{facts['system']}, OpenSSL {facts['openssl']}; {facts['rounds']} rounds of {facts['ms']} ms for each case; "
            f"load of the machine before the run {facts['load_before']}.\n")


def single(results):
    others = [name for name in results.contenders if name != REFERENCE]
    rows = []
    for case in results.values("case", threads=1, processes=1, keys=0, versions=0, idle=0, contender=REFERENCE):
        reference = results.get(case, REFERENCE)
        cells = [case, f"{number(reference['p50'])} ({reference['p99'] / reference['p50']:.1f})"]
        for name in others:
            mine = results.get(case, name)
            cells.append(f"{mine['p50'] / reference['p50']:.2f} ({mine['p99'] / mine['p50']:.1f})" if mine else "")
        rows.append(cells)
    return table(["case", REFERENCE + ", µs"] + others, rows)


def floor(results):
    figures = results.get("ping-pong", FLOOR)
    if not figures:
        return ""
    return (f"Two processes that hand each other a word, with 3 µs of computing between (`cmkd-bench --floor 3`), in the same run: "
            f"p50 {figures['p50']:.1f} µs, p99 {figures['p99'] / figures['p50']:.1f} times that, p99.9 "
            f"{figures['p999'] / figures['p50']:.1f} times. So much of the tails is the machine's own.\n")


def loads(results):
    """(threads, processes) under which the reference was measured too, beside one thread alone."""
    return in_order((where.threads, where.processes) for where in results.figures
                    if where.threads * where.processes > 1 and where.contender == REFERENCE)


def load(results):
    order = [OURS] + [name for name in results.contenders if name != OURS]
    rows = []
    for threads, processes in loads(results):
        for case in results.values("case", threads=threads, processes=processes, contender=REFERENCE):
            cells = [case, f"{threads} × {processes}"]
            for name in order:
                mine = results.get(case, name, threads=threads, processes=processes)
                ratio = results.ratio(case, name, "per_second", threads=threads, processes=processes)
                alone = results.get(case, name)
                cells.append(f"{ratio:.2f} ({mine['per_second'] / alone['per_second']:.2f})" if ratio and alone else "")
            rows.append(cells)
    return table(["case", "threads × processes"] + order, rows, 2)


def most_keys(results):
    return max(results.values("keys", contender=REFERENCE), default=0)


def keys(results):
    most = most_keys(results)
    asked = [name for name in results.contenders if set(results.values("keys", contender=name)) - {0}]
    rows = []
    for case in ("find-label", "create"):
        reference = results.get(case, REFERENCE, keys=most)
        for count in sorted(set(results.values("keys", case=case)) - {0}):
            figures = [results.get(case, name, keys=count) for name in asked]
            if reference:
                rows.append([case, f"{count:,}"] +
                            [f"{mine['p50'] / reference['p50']:.2g}" if mine else "" for mine in figures])
    return table(["case", "keys"] + asked, rows, 1)


def growing(results, field, cases=None):
    """Rows of a table in which one field grows, in cmkd: the least p50 of the rounds, for what other programs add to it is
    more than any growth, and comes and goes."""
    counts = [count for count in results.values(field, contender=OURS, keys=0) if count > 0 or field == "idle"]
    if not any(counts):
        return [], []
    lines = []
    for case in cases or results.values("case", contender=OURS, **{field: counts[-1]}):
        figures = [results.get(case, OURS, **{field: count}) for count in counts]
        if all(figures):
            lines.append((case, figures))
    return counts, lines


def versions(results):
    counts, lines = growing(results, "versions")
    return table(["case", "µs"] + [f"{count:,} version{'s' * (count != 1)}" for count in counts],
                 [[case, number(figures[0]["least"])] + [f"{each['least'] / figures[0]['least']:.2f}" for each in figures]
                  for case, figures in lines])


def clients(results):
    counts, lines = growing(results, "idle", LOADED[:2])
    many = max((where.processes for where in results.figures if where.contender == OURS and where.processes > 8), default=0)
    rows = []
    for case, figures in lines:
        cells = [case, number(figures[0]["least"])] + [f"{each['least'] / figures[0]['least']:.2f}" for each in figures]
        active = results.get(case, OURS, processes=many)
        rows.append(cells + ([f"{active['per_second'] / figures[0]['per_second']:.2f}"] if active else []))
    heads = ["case", "µs"] + [f"{count + 1:,} client{'s' * (count != 0)}" for count in counts]
    return table(heads + ([f"{many} active, operations"] if many else []), rows)


def protection(results):
    levels = [(OURS, "`software`, audit durable within 100 ms", "a daemon that is killed loses no use that was answered; a "
               "machine that fails, those of 100 ms"),
              ("cmkd-firmware-sim", "`firmware_sim` in the host process", "a crash of the device is not one of the daemon; "
               "two trips more for each call"),
              ("cmkd-softhsm2", "SoftHSM2 in the host process", "the same, and the module's own time"),
              (STRICT, "`software`, audit `strict`", "a use that was answered survives the machine: one wait for the disk "
               "each, shared by those who wait at once")]
    cases = ("gcm-32", "ecdsa-p256")
    base = [results.get(case, OURS) for case in cases]
    if not all(base):
        return ""
    rows = []
    for name, title, meaning in levels:
        figures = [results.get(case, name) for case in cases]
        if all(figures):
            rows.append([title, meaning] + [number(mine["p50"] / one["p50"]) for mine, one in zip(figures, base)])
    return table(["", ""] + list(cases), rows, 2)


def memory(results):
    rows = []
    for what, row in results.memory.items():
        times = [f"{float(row[name + '_last_us']) / float(row[name + '_first_us']):.2f}"
                 if float(row[name + "_first_us"]) > 0 else "" for name in ("begin", "end")]
        bound = ", ".join(f"`{name.strip()}`" for name in row["bound"].split(","))
        rows.append([what, f"{int(row['count']):,}", f"{float(row['bytes_each']):,.0f}", f"{float(row['kept_each']):,.0f}",
                     times[0], times[1], bound])
    return table(["", "number", "bytes each", "left when they are gone", "last tenth to first: begin", "end", "bounded by"],
                 rows)


def store(results):
    sizes = sorted(results.store)
    if len(sizes) < 2:
        return ""
    few, many = results.store[sizes[0]], results.store[sizes[-1]]
    asked = [("find by label", "label_us"), ("find by id", "id_us"), ("find by unique id", "unique_id_us"),
             ("read one key", "read_us"), ("a page of 100 keys from anywhere", "page_100_us"),
             ("which keys are due (none is)", "due_us"), ("change one key, durably", "commit_us"),
             ("make one key, of 5,000 in a transaction", "make_us")]
    rows = [[title, f"{number(few[name])} µs", f"{many[name] / few[name]:.1f}"] for title, name in asked]
    rows += [[title, f"{number(few[name])} s", f"{number(many[name])} s"] for title, name in
             (("open", "open_s"), ("the first search and use after it", "first_use_s"),
              ("everything checked, in the background", "check_rest_s"), ("read whole, for comparison", "open_full_s"))]
    return table(["asked of the store", f"{sizes[0]:,} keys", f"{sizes[-1]:,} keys"], rows)


def aims(results):
    def ratios(pairs):
        return [(f"{value:.2g}" if value < 0.1 else f"{value:.2f}", value) for value in pairs if value is not None]

    def at_most(limit, values):
        return ["; ".join(text for text, _ in values), "yes" if all(value <= limit for _, value in values) else "no"]

    def at_least(limit, values):
        return ["; ".join(text for text, _ in values), "yes" if all(value >= limit for _, value in values) else "no"]

    def to_two_threads(load):
        found = [(results.get(case, OURS, **load), results.get(case, OURS, threads=2)) for case in LOADED]
        return ratios(mine["per_second"] / two["per_second"] for mine, two in found if mine and two)

    if not is_whole(results):
        return ""
    rows = []

    def aim(title, limit, cells):
        if cells[0]:
            rows.append([title, limit] + cells)

    for title, case, limit in (("GCM 32 B, p50", "gcm-32", 0.30), ("GCM 4 KiB, p50", "gcm-4k", 0.55),
                               ("HMAC 64 B, p50", "hmac-64", 0.30), ("ECDSA P-256, p50", "ecdsa-p256", 0.60),
                               ("RSA-2048, p50", "rsa-2048", 0.55), ("data key, p50", "data-key", 0.30),
                               ("durable creation, p50", "create", 0.05)):
        aim(title, f"≤ {limit:.2f}", at_most(limit, ratios([results.ratio(case, OURS)])))
    aim("GCM 1 MiB, throughput", "≥ 1.9", at_least(1.9, ratios([results.ratio("gcm-1m", OURS, "mb_per_second")])))
    most = most_keys(results)
    aim(f"find by label among {most:,} keys", "≤ 0.001",
        at_most(0.001, ratios([results.ratio("find-label", OURS, keys=most)])))
    random = results.get("random-32", OURS)
    aim("random 32 B", "≤ 2 µs", at_most(2, [(f"{random['p50']:.2f} µs", random["p50"])] if random else []))
    aim("two threads, operations to SoftHSM2's (" + ", ".join(LOADED) + ")", "≥ 2",
        at_least(2, ratios(results.ratio(case, OURS, "per_second", threads=2) for case in LOADED)))
    aim("eight threads, operations to two threads' (the same)", "≥ 1", at_least(1, to_two_threads({"threads": 8})))
    aim("eight processes, operations to two threads' (the same)", "≥ 1", at_least(1, to_two_threads({"processes": 8})))
    tails = [(case, results.get(case, OURS)) for case in ("gcm-32", "hmac-64")]
    aim("p99 to p50 (" + ", ".join(case for case, _ in tails) + ")", "≤ 4",
        at_most(4, [(f"{mine['p99'] / mine['p50']:.1f}", mine["p99"] / mine["p50"]) for _, mine in tails if mine]))
    idle = results.memory.get("client")
    if idle:
        megabytes = 1000 * float(idle["bytes_each"]) / 1e6
        aim("1,000 idle clients", "< 100 MB", at_most(100, [(f"{megabytes:.0f} MB", megabytes)]))
    if results.store:
        size = max(results.store)
        aim(f"start with {size:,} keys: the store", "< 1 s",
            at_most(1, [(f"{results.store[size]['open_s']:.2f} s", results.store[size]["open_s"])]))
    return table(["aim", "asked", "here", "reached"], rows, 2)


TABLES = {"run": run, "single": single, "floor": floor, "aims": aims, "load": load, "keys": keys, "store": store, "versions": versions,
          "clients": clients, "memory": memory, "protection": protection}


# ---- The plots


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


def bars(path, title, groups, contenders):
    """Horizontal bars on a logarithmic scale, with a line at 1; groups: (label, {contender: value})."""
    values = [v for _, row in groups for v in row.values() if v > 0]
    if not values:
        return
    low, high = min(values + [1]) / 1.5, max(values + [1]) * 1.5
    left, width, step = 190, 800, 13
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
    svg.line([(at(1), 48), (at(1), height)], "#444", "4 3")
    svg.write(path)


def growth(path, title, lines):
    """Lines over a growing number, both scales logarithmic; lines: {name: [(number, value)]}."""
    lines = {name: sorted(points) for name, points in lines.items() if points}
    points = [point for line in lines.values() for point in line]
    if not points:
        return
    left, top, width, height = 70, 50, 560, 300
    x_low, x_high = math.log(min(p[0] for p in points)), math.log(max(p[0] for p in points) * 1.01)
    low = min(0.5, min(p[1] for p in points) / 2)
    high = max(2, max(p[1] for p in points) * 1.5)
    svg = Svg(left + width + 200, top + height + 40, title)

    def place(count, value):
        return (left + width * (math.log(count) - x_low) / max(x_high - x_low, 1e-9),
                top + height * (math.log(high) - math.log(value)) / (math.log(high) - math.log(low)))

    svg.line([(left, top), (left, top + height), (left + width, top + height)], "#444")
    used = []
    for i, (name, line) in enumerate(lines.items()):
        at = [place(*point) for point in line]
        svg.line(at, COLOURS[i % len(COLOURS)])
        # Names whose lines end together stand below each other.
        y = at[-1][1] + 4
        while any(abs(y - other) < 13 for other in used):
            y += 13
        used.append(y)
        svg.bar(at[-1][0] + 8, y - 8, 8, 8, COLOURS[i % len(COLOURS)])
        svg.text(at[-1][0] + 20, y, name)
    for count in sorted({point[0] for point in points}):
        svg.text(place(count, high)[0], top + height + 18, f"{count:,}", anchor="middle")
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for value in (10.0 ** power, 2 * 10.0 ** power, 5 * 10.0 ** power) if high / low < 30 else (10.0 ** power,):
            if low <= value <= high:
                svg.text(left - 6, place(math.exp(x_low), value)[1] + 4, f"{value:g}", anchor="end")
    svg.write(path)


def plots(results, out):
    def file(name):
        return os.path.join(out, name + ".svg")

    contenders = results.contenders
    groups = []
    for case in results.values("case", threads=1, processes=1, keys=0, versions=0, idle=0, contender=REFERENCE):
        ratios = {name: results.ratio(case, name) for name in contenders}
        groups.append((case, {name: ratio for name, ratio in ratios.items() if ratio}))
    bars(file("single"), "One thread: time of one run, SoftHSM2 in process = 1 (shorter is better)", groups, contenders)
    groups = []
    for threads, processes in loads(results):
        for case in results.values("case", threads=threads, processes=processes, contender=REFERENCE):
            ratios = {name: results.ratio(case, name, "per_second", threads=threads, processes=processes)
                      for name in contenders}
            groups.append((f"{case}, {threads} × {processes}", {name: ratio for name, ratio in ratios.items() if ratio}))
    bars(file("load"), "Threads × processes: operations a second, SoftHSM2 = 1 (longer is better)", groups, contenders)
    reference = results.get("find-label", REFERENCE, keys=most_keys(results))
    found = {name: [(count, results.get("find-label", name, keys=count)["p50"] / reference["p50"])
                    for count in results.values("keys", case="find-label", contender=name)]
             for name in contenders} if reference else {}
    growth(file("find"), "Find by label: time as keys grow (SoftHSM2 with the most keys = 1)", found)
    counts, lines = growing(results, "versions")
    growth(file("versions"), "Time as versions of a key grow (one version = 1)",
           {case: [(count, each["least"] / figures[0]["least"]) for count, each in zip(counts, figures)]
            for case, figures in lines})
    counts, lines = growing(results, "idle", LOADED[:2])
    growth(file("clients"), "Time of one client as idle ones grow (alone = 1)",
           {case: [(count + 1, each["least"] / figures[0]["least"]) for count, each in zip(counts, figures)]
            for case, figures in lines})


def into_document(texts, out, docs):
    path = os.path.join(docs, "performance.md")
    with open(path) as file:
        document = file.read()
    for name, text in texts.items():
        block = re.compile(rf"(<!-- bench: {name} -->\n).*?(<!-- /bench -->)", re.DOTALL)
        if len(block.findall(document)) != 1:
            sys.exit(f"report.py: {path} has no single place for the table {name}")
        if text:
            document = block.sub(lambda found: found[1] + text + found[2], document)
    with open(path, "w") as file:
        file.write(document)
    for name in ("single", "load", "find", "versions", "clients"):
        plot = os.path.join(out, name + ".svg")
        if os.path.exists(plot):
            with open(plot) as source, open(os.path.join(docs, f"performance-{name}.svg"), "w") as target:
                target.write(source.read())


def main():
    source, out = sys.argv[1], sys.argv[2]
    results = Results(source)
    texts = {name: make(results) for name, make in TABLES.items()}
    with open(os.path.join(out, "table.md"), "w") as file:
        file.write("\n".join(f"{name}\n\n{text}" for name, text in texts.items() if text))
    plots(results, out)
    if len(sys.argv) > 3:
        into_document(texts, out, sys.argv[3])


if __name__ == "__main__":
    main()
