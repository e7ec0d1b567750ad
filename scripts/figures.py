"""The size and density of the Rust code as it is: a mirror, not a gate.

Usage: python3 scripts/figures.py [FOLDER]    (default: this repository)
Counts lines, files, functions (from `fn` to the closing brace of the body), error enums, comments, tests and
documentation of public items. Generated code and `target` are left out. A small lexer knows strings, characters,
lifetimes and comments; macros are counted as they are written. Exit 0: the table is printed.
"""

import pathlib
import re
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
LEFT_OUT = {"target", ".git", ".dev", "node_modules", "pb"}
TOKEN = re.compile(
    r"""(?P<doc>///[^\n]*|//![^\n]*)|(?P<line>//[^\n]*)|(?P<block>/\*)"""
    r"""|(?P<raw>b?c?r(?P<hash>\#*)".*?"(?P=hash))|(?P<text>[bc]?"(?:\\.|[^"\\])*")"""
    r"""|(?P<char>b?'(?:\\(?:u\{[0-9a-fA-F]+\}|x..|.)|[^'\\\n])')|(?P<life>'[A-Za-z_]\w*)""",
    re.DOTALL,
)


def blank(match_text):
    return re.sub(r"[^\n]", " ", match_text)


class File:
    """One file: its code without comments and the insides of strings, and how many comment lines it has."""

    def __init__(self, path):
        self.text = path.read_text()
        self.lines = self.text.splitlines()
        self.inline = self.documentation = 0
        pieces, place = [], 0
        while match := TOKEN.search(self.text, place):
            pieces.append(self.text[place : match.start()])
            end = match.end()
            if match["block"]:
                end = self.end_of_block(match.start())
            found = self.text[match.start() : end]
            if match["doc"] and not found.startswith("////"):
                self.documentation += 1
            elif match["doc"] or match["line"]:
                self.inline += 1
            elif match["block"]:
                self.inline += found.count("\n") + 1
            pieces.append(found if match["life"] else blank(found))
            place = end
        pieces.append(self.text[place:])
        self.code = "".join(pieces)

    def end_of_block(self, start):
        """Block comments nest."""
        depth, place = 0, start
        for match in re.finditer(r"/\*|\*/", self.text[start:]):
            depth += 1 if match[0] == "/*" else -1
            place = start + match.end()
            if depth == 0:
                return place
        return len(self.text)

    def closing(self, opening):
        depth = 0
        for match in re.finditer(r"[{}]", self.code[opening:]):
            depth += 1 if match[0] == "{" else -1
            if depth == 0:
                return opening + match.end()
        return len(self.code)

    def functions(self):
        """The number of lines of every function with a body."""
        for match in re.finditer(r"\bfn\s+\w+", self.code):
            # A body or a semicolon outside of brackets ends the signature.
            depth = 0
            for place in range(match.end(), len(self.code)):
                sign = self.code[place]
                if sign in "([":
                    depth += 1
                elif sign in ")]":
                    depth -= 1
                elif depth == 0 and sign in "{;":
                    if sign == "{":
                        yield self.code.count("\n", match.start(), self.closing(place)) + 1
                    break

    def error_enums(self):
        """Of every enum that derives Error: how many variants it has, and how many convert by #[from]."""
        for match in re.finditer(r"#\[derive\([^)]*\bError\b[^)]*\)\]", self.code):
            head = re.compile(r"\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?enum\s+\w+[^{]*\{").match(self.code, match.end())
            if not head:
                continue
            end = self.closing(head.end() - 1)
            body, depth, flat = self.code[head.end() : end - 1], 0, []
            for sign in body:
                depth -= sign in ")}]"
                flat.append(sign if depth == 0 else " ")
                depth += sign in "({["
            names = re.findall(r"(?:^|,)\s*(?:#\s*\[?\s*\]?\s*)*([A-Z]\w*)", "".join(flat))
            yield len(names), body.count("#[from]")

    def public_items(self):
        """Public items, and how many of them have a doc comment above them."""
        lines = self.text.splitlines()
        for number, line in enumerate(lines):
            if not re.match(r"\s*pub (?:const |async |unsafe )*(?:fn|struct|enum|trait|type|const|static|mod|macro)\b", line):
                continue
            above = number - 1
            while above >= 0 and re.match(r"\s*(?:#\[|\)\]|[\w ,=\"()]+\)\]$)", lines[above]):
                above -= 1
            # A module documents itself in its own file.
            yield "mod" in line.split()[:3] and line.rstrip().endswith(";") or lines[above].lstrip().startswith("///")


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0


def row(name, files):
    sizes = [len(file.lines) for file in files]
    functions = [size for file in files for size in file.functions()]
    errors = [found for file in files for found in file.error_enums()]
    variants = [count for count, _ in errors]
    documented = [found for file in files for found in file.public_items()]
    lines = sum(sizes)
    code = [line for file in files for line in file.lines if line.strip()]
    of_functions = max(len(functions), 1)
    starts = [kind for file in files for kind in re.findall(r"\b(async\s+)?fn\s+\w+", file.code)]
    tests = sum(len(re.findall(r"#\[(?:tokio::)?test\b", file.text)) for file in files)
    return [
        name, f"{lines:,}", len(files), int(statistics.median(sizes)), f"{100 * sum(size <= 300 for size in sizes) // len(sizes)} %",
        sum(size > 400 for size in sizes), sum(size > 1000 for size in sizes),
        f"{percentile(functions, 0.5)} / {percentile(functions, 0.9)}",
        f"{100 * sum(size > 40 for size in functions) / of_functions:.1f} %", f"{100 * sum(size > 70 for size in functions) / of_functions:.1f} %",
        max(functions, default=0),
        f"{len(variants)}: {percentile(variants, 0.5)}/{percentile(variants, 0.9)}/{max(variants, default=0)}",
        f"{sum(sources for _, sources in errors) / max(sum(variants), 1):.2f}",
        f"{100 * sum(file.inline for file in files) / lines:.1f} · {100 * sum(file.documentation for file in files) / lines:.1f}",
        tests, f"{100 * sum(bool(kind) for kind in starts) // max(len(starts), 1)} %",
        f"{100 * sum(documented) // max(len(documented), 1)} %",
        f"{100 * (lines - len(code)) / lines:.1f} %", f"{100 * sum(len(line) > 80 for line in code) / max(len(code), 1):.1f} %",
        sum(len(line) > 100 for line in code),
    ]


HEAD = [
    "unit", "lines", "files", "median file", "≤ 300", "> 400", "> 1,000", "fn p50 / p90", "> 40", "> 70", "longest",
    "error enums n: p50/p90/max", "from", "`//` · `///` per 100", "tests", "async fns", "pub items with docs",
    "blank lines", "lines > 80", "lines > 100",
]


def main():
    root = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT
    units = {}
    for path in sorted(root.rglob("*.rs")):
        parts = path.relative_to(root).parts
        if LEFT_OUT & set(parts):
            continue
        unit = "/".join(parts[: 2 if parts[0] in ("crates", "services", "contracts", "benches", "tests") else 1])
        units.setdefault(unit, []).append(File(path))
    if not units:
        sys.exit(f"figures: there is no Rust code in {root}")
    everything = [file for files in units.values() for file in files]
    rows = [HEAD, *(row(name, files) for name, files in units.items()), row("**all**", everything)]
    widths = [max(len(str(line[column])) for line in rows) for column in range(len(HEAD))]
    for number, line in enumerate(rows):
        print("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(line, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


if __name__ == "__main__":
    main()
