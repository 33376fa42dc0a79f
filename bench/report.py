"""report.py: samples by name; medians with their spread; text, TSV, JSON and a plot of them."""
import json, math, statistics


class Samples:
    """Rows of (part, workload, machine), each with its unit and the value of every round."""

    def __init__(self):
        self.rows, self.units = {}, {}

    def add(self, part, workload, machine, value, unit):
        self.rows.setdefault((part, workload, machine), []).append(value)
        self.units[part, workload, machine] = unit

    def median(self, part, workload, machine):
        values = self.rows.get((part, workload, machine))
        return statistics.median(values) if values else None

    def workloads(self, part):
        return list(dict.fromkeys(w for p, w, _ in self.rows if p == part))

    def save(self, path, about):
        """As PATH.tsv and PATH.json."""
        records = [dict(part=p, workload=w, machine=m, unit=self.units[p, w, m], median=statistics.median(v), low=min(v), high=max(v), values=v)
                   for (p, w, m), v in self.rows.items()]
        with open(f"{path}.tsv", "w") as f:
            f.write("part\tworkload\tmachine\tmedian\tlow\thigh\tunit\n")
            for r in records:
                f.write("{part}\t{workload}\t{machine}\t{median:.6g}\t{low:.6g}\t{high:.6g}\t{unit}\n".format(**r))
        with open(f"{path}.json", "w") as f:
            json.dump({"about": about, "results": records}, f, indent=1)


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(v) for v in values))


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))]


def cell(values, digits=1):
    """A median with its spread."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def table(out, head, rows):
    """Columns as wide as they need; the first to the left."""
    widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]
    for r in [head, *rows]:
        out("  " + "  ".join(str(c).ljust(w) if i == 0 else str(c).rjust(w) for i, (c, w) in enumerate(zip(r, widths))).rstrip())


COLOURS = ("#1f6fb2", "#b2541f", "#6b6b6b", "#2f8f4e")


def plot(path, title, workloads, series):
    """Bars on a logarithmic scale: `series` is {machine: {workload: value}}; shorter is better."""
    values = [v for s in series.values() for v in s.values()]
    if not values:
        return
    left, right, top, bar, gap, width = 130, 60, 50, 11, 12, 760
    decades = max(1, math.ceil(math.log10(max(values))))
    group = bar * len(series) + gap
    height = top + group * len(workloads) + 30
    x = lambda v: left + max(0.0, math.log10(v)) / decades * (width - left - right)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">',
             f'<rect width="{width}" height="{height}" fill="white"/><text x="{left}" y="18" font-size="14">{title}</text>']
    for i, m in enumerate(series):
        parts.append(f'<rect x="{left + 110 * i}" y="27" width="10" height="10" fill="{COLOURS[i % 4]}"/><text x="{left + 110 * i + 14}" y="36">{m}</text>')
    for d in range(decades + 1):
        parts.append(f'<path d="M{x(10 ** d):.1f} {top - 6}V{height - 24}" stroke="#ccc"/><text x="{x(10 ** d):.1f}" y="{height - 10}" text-anchor="middle">{10 ** d}</text>')
    for n, w in enumerate(workloads):
        y = top + n * group
        parts.append(f'<text x="{left - 8}" y="{y + bar * len(series) / 2 + 4:.1f}" text-anchor="end">{w}</text>')
        for i, s in enumerate(series.values()):
            if w in s:
                parts.append(f'<rect x="{left}" y="{y + i * bar}" width="{max(1.0, x(s[w]) - left):.1f}" height="{bar - 1}" fill="{COLOURS[i % 4]}"/>'
                             f'<text x="{x(s[w]) + 4:.1f}" y="{y + i * bar + 9}" font-size="9">{s[w]:.1f}</text>')
    with open(path, "w") as f:
        f.write("\n".join(parts) + "\n</svg>\n")
