"""Holds the commands of every tracked Markdown page to the programs and to the checkout.

Usage: python3 tests/deploy/pages.py FOLDER_OF_PROGRAMS
Wherever a command appears, in a block or within a sentence: each subcommand and option of our own programs is in their
--help, each package, target, test, script and file that cargo, npm or a script of the checkout is given exists.
In a block `sh` or `console` any other command is run by a test, or marked. A mark is visible to the reader: "needs …"
in the line's comment, or "**needs …**" or "no test runs …" in the paragraph before the block; a paragraph that says
"every command" marks all blocks of its section.
Exit 0: all is well. Exit 1: something is wrong, named line by line.
"""

import collections
import functools
import json
import pathlib
import re
import shlex
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[2]
OWN = ("lumio", "runner", "oracle-gate", "module-gate", "lumio-localnet", "./dev")
# The package of a program, for `cargo run`.
PROGRAM_OF = {"soroban-localnet": "lumio-localnet"} | {name: name for name in OWN[:4]}
# What a shell has anyway, and what only looks or prepares: nothing about it can be out of date.
SHELL = {
    "cat", "cd", "chmod", "cp", "cut", "echo", "eval", "export", "find", "git", "grep", "head", "kill", "mkdir", "mktemp",
    "printf", "sed", "sha256sum", "tee", "tr", "wait",
}
# The test that takes the commands of a page from the page itself: of a section, where one is named.
RUN = {
    "README.md": ("By hand", "tests/deploy/readme.sh"),
    "crates/localnet/README.md": (None, "tests/deploy/pages.py"),
    "docs/modules.md": (None, "tests/deploy/modules.sh"),
    "docs/operations/install.md": ("A paid run", "tests/deploy/compose.py"),
    "docs/operations/oracle-gate.md": (None, "services/oracle-gate/tests/it/commands.rs"),
    "docs/oracle-store/checking.md": (None, "services/oracle-gate/tests/it/commands.rs"),
    "docs/verification.md": ("Again, with public tools", "tests/e2e/tests/it/public_tools.rs"),
}
# Takes less than a second, and is run here unchanged.
RUN_HERE = ["(cd contracts/wasm && sha256sum --check SHA256SUMS)"]
# Older releases had other commands, and benchmarks are run by hand on a quiet machine.
NOT_READ, BY_HAND = {"CHANGELOG.md"}, "benches/"
NETWORK_PAGE = "crates/localnet/README.md"
NEEDS = re.compile(r"\*\*needs? [^*]+\*\*|not run by a test|no test runs")
# The subcommands whose packages and targets are in this checkout.
CARGO = {"bench", "build", "check", "clippy", "doc", "fmt", "install", "run", "test"}
TARGETS = {"--test": "tests", "--bench": "benches", "--example": "examples", "--bin": "src/bin"}
PATHS = re.compile(r"(?:benches|cli|contracts|crates|deploy|docs|examples|packages|services|tests|web)/[\w./-]+")

Block = collections.namedtuple("Block", "page line language text section marked")
problems = []


def problem(place, text):
    problems.append(f"{place}: {text}")


@functools.cache
def tracked(pattern):
    """The files of the checkout by a pattern, also those that are about to be added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for path in listed.stdout.splitlines() if (ROOT / path).exists()]


# --- pages ---


def read(page):
    """The blocks of a page, and its paragraphs with their lines."""
    blocks, paragraphs = [], []
    titles, marked_below, before, paragraph = [], None, "", []
    fence, begin, language, text = None, 0, "", []

    def end_paragraph(line):
        nonlocal before, marked_below, paragraph
        if paragraph:
            before = " ".join(part.strip() for part in paragraph)
            paragraphs.append((line - len(paragraph), before))
            if NEEDS.search(before) and re.search(r"\b[Ee]very command\b", before):
                marked_below = len(titles)
            paragraph = []

    def end_block():
        marked = bool(NEEDS.search(before)) or marked_below is not None
        section = [title for _, title in titles]
        blocks.append(Block(page, begin, language, textwrap.dedent("\n".join(text)), section, marked))

    for number, line in enumerate([*(ROOT / page).read_text().splitlines(), ""], 1):
        stripped = line.strip()
        if fence is not None:
            # The end of a block that is only indented is the first line that is not.
            if fence == "" and (not stripped or not line.startswith("    ")):
                end_block()
                fence = None
            elif fence and stripped.startswith(fence) and not stripped.strip(fence[0]):
                end_block()
                fence = None
                continue
            else:
                text.append(line)
                continue
        if opening := re.match(r"\s*(```+|~~~+)\s*([^\s,]*)", line):
            end_paragraph(number)
            fence, language, begin, text = opening[1], opening[2], number + 1, []
        elif line.startswith("    ") and stripped and not paragraph:
            fence, language, begin, text = "", "", number, [line]
        elif heading := re.match(r"(#+)\s+(.*)", line):
            end_paragraph(number)
            titles = [title for title in titles if title[0] < len(heading[1])]
            if marked_below is not None and len(titles) < marked_below:
                marked_below = None
            titles.append((len(heading[1]), heading[2]))
            before = ""
        elif stripped:
            paragraph.append(line)
        else:
            end_paragraph(number)
    return blocks, paragraphs


def statements(block):
    """Every line for the shell with its number, together with those in which it goes on. Of a session only what is typed."""
    lines = block.text.splitlines()
    session = any(line.startswith("$ ") for line in lines)
    whole, begin, document = "", 0, None
    for number, line in enumerate(lines, block.line):
        if document:
            # What a here-document holds is no command.
            document = None if line.strip() == document else document
            continue
        if session and not whole:
            if not line.startswith("$ "):
                continue
            line = line[2:]
        begin = begin if whole else number
        whole += line
        if opened := re.search(r"(?<!<)<<-?\s*['\"]?(\w+)['\"]?", whole):
            document = opened[1]
            whole = whole.replace(opened[0], "")
        if whole.endswith("\\"):
            whole = whole[:-1]
            continue
        try:
            shlex.split(whole, comments=True)
        except ValueError:
            whole += "\n"
            continue
        if re.search(r"(?:\||&&|\|\|)\s*$", whole):
            whole += " "
            continue
        if whole.strip() and not whole.strip().startswith("#"):
            yield begin, whole
        whole = ""
    if whole.strip():
        problem(f"{block.page}:{begin}", "a quotation does not end")


def commands(statement):
    """The words of each simple command of a statement, of those inside of it as well."""
    lexer = shlex.shlex(statement, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found, words, redirected = [], [], False
    for word in lexer:
        if word and set(word) <= set("();<>|&"):
            redirected = set(word) <= set("<>&") and bool(set(word) & set("<>"))
            if not redirected:
                found.append(words)
                words = []
        elif redirected:
            redirected = False
        else:
            words.append(word)
            found += [inner for text in substitutions(word) for inner in commands(text)]
    return [plain for words in [*found, words] if (plain := without_prefix(words))]


def substitutions(word):
    """What is inside the `$(…)` of a quoted word."""
    for begin in re.finditer(r"\$\(", word):
        depth, at = 1, begin.end()
        while at < len(word) and depth:
            depth += {"(": 1, ")": -1}.get(word[at], 0)
            at += 1
        yield word[begin.end() : at - 1]


def without_prefix(words):
    """The command of a line without the variables it is given and without the shell's own words."""
    if words[:1] == ["for"]:
        return []
    reserved = {"{", "}", "do", "done", "then", "fi", "if", "else", "while", "until", "!", "time", "sudo"}
    while words and (words[0] in reserved or re.match(r"[A-Za-z_]\w*\+?=", words[0])):
        words = words[1:]
    return words


def synopsis(text):
    """The words of a command within a sentence or in a list of commands. A bar separates alternatives."""
    words = re.findall(r" \| |\||[^\s|\[\]]+", re.sub(r"\$\([^()]*\)", "…", text))
    while words and re.match(r"[A-Z_][A-Z0-9_]*=", words[0]):
        words = words[1:]
    return words


# --- our own programs ---


@functools.cache
def help_of(program, path):
    """Subcommands, and options with whether a value follows, of one command."""
    called = subprocess.run([PROGRAMS / program, *path, "--help"], capture_output=True, text=True, timeout=60)
    if called.returncode != 0:
        raise RuntimeError(f"{program} {' '.join(path)} --help ends with {called.returncode}: {called.stderr}")
    listed = re.search(r"^Commands:\n((?:  .*\n|\n(?=  ))*)", called.stdout, re.MULTILINE)
    names = re.findall(r"^  ([a-z][a-z0-9-]*)", listed[1], re.MULTILINE) if listed else []
    # The list of commands is followed by an empty line; descriptions are indented more than names.
    options = re.findall(r"^(?:  -\w, |      )--([a-z][a-z0-9-]*)( \S+)?", called.stdout, re.MULTILINE)
    return set(names), {name: bool(value) for name, value in options}


@functools.cache
def dev_usage():
    return subprocess.run([ROOT / "dev", "help"], check=True, capture_output=True, text=True).stdout


def check_own(place, program, words):
    """Every subcommand and option of a call is in the program's own help."""
    if program == "./dev":
        check_dev(place, words)
        return
    path, previous = (), ""
    names, options = help_of(program, path)
    known, value_follows, between = dict(options), False, False
    for word in words:
        option = re.match(r"--([a-z][a-z0-9-]*)", word)
        if word in ("--", "&&", ";", "#", ">", "<", "&"):
            return
        if word.strip() == "|":
            between, previous = True, word
            continue
        name = word.strip("….,;:")
        if option:
            if option[1] not in known:
                problem(place, f"`{program} {' '.join(path)}` has no option --{option[1]}")
            value_follows = known.get(option[1], False) and "=" not in word
        elif value_follows and not between:
            value_follows = False
        elif name in names:
            path += (name,)
            names, options = help_of(program, path)
            known |= options
        elif between and path and name in help_of(program, path[:-1])[0]:
            path = (*path[:-1], name)
            names, options = help_of(program, path)
            known |= options
        elif re.fullmatch(r"[a-z][a-z0-9-]*", name) and (names or previous == " | "):
            group = path if names else path[:-1]
            # After a single command, another program reads what this one prints.
            if names or group:
                problem(place, f"`{' '.join((program, *group))}` has no command {name}")
            return
        between, previous = False, word


def check_dev(place, words):
    usage = dev_usage()
    command, *rest = words or ["help"]
    is_name = re.fullmatch(r"[a-z][a-z0-9-]*", command)
    if is_name and not re.search(rf"^  \./dev {command}\b", usage + "  ./dev help\n", re.MULTILINE):
        problem(place, f"`./dev` has no command {command}")
        return
    for word in rest:
        option = re.match(r"--[a-z][a-z0-9-]*", word)
        if word in ("&&", ";", "|", " | ", "#", ">", "--"):
            return
        if option and command == "account":
            check_own(place, "runner", [command, *rest])
            return
        if option and not re.search(rf"{option[0]}\b", usage):
            problem(place, f"`./dev {command}` has no option {option[0]}")
    if command == "test" and rest and re.fullmatch(r"[a-z]+", rest[0]) and f"./dev test {rest[0]} " not in usage:
        problem(place, f"`./dev test` has no part {rest[0]}")


# --- cargo, npm, scripts of the checkout ---


@functools.cache
def packages():
    """The folder of each package of the workspace."""
    found = {}
    for manifest in tracked("*Cargo.toml"):
        if name := re.search(r'^\[package\]\n(?:.*\n)*?name = "([^"]+)"', (ROOT / manifest).read_text(), re.MULTILINE):
            found[name[1]] = (ROOT / manifest).parent
    return found


@functools.cache
def aliases():
    text = (ROOT / ".cargo/config.toml").read_text().split("[alias]")[1].split("\n[")[0]
    return {name: command.split() for name, command in re.findall(r'^(\w+) = "(.*)"$', text, re.MULTILINE)}


def is_placeholder(word):
    return bool(re.search(r"[<>…$]", word)) or word == word.upper()


def check_cargo(place, words):
    """Answers whether all that matters of the call is in this checkout."""
    command, *rest = words[1:] or ["help"]
    command, *rest = [*aliases().get(command, [command]), *rest]
    if command not in CARGO or (command == "install" and "--path" not in rest):
        return False
    own, after = (rest[: rest.index("--")], rest[rest.index("--") + 1 :]) if "--" in rest else (rest, [])
    named, filters, value_of = [], [], None
    for word in own:
        if value_of:
            if value_of in ("-p", "--package") and not is_placeholder(word):
                named.append(word)
            elif value_of == "--path" and not (ROOT / word / "Cargo.toml").exists():
                problem(place, f"cargo: there is no package in {word}")
            elif value_of in TARGETS and not is_placeholder(word) and not has_target(named, value_of, word):
                problem(place, f"cargo: {' and '.join(named) or 'the workspace'} has no {value_of[2:]} {word}")
            value_of = None
        elif word in ("-p", "--package", "--path", "--features", "--root", "--version", "--profile", "--target", *TARGETS):
            value_of = word
        elif not word.startswith("-"):
            filters.append(word)
    for name in named:
        if name not in packages():
            problem(place, f"cargo: there is no package {name}")
            return True
    if command == "run" and after and named and named[0] in PROGRAM_OF:
        check_own(place, PROGRAM_OF[named[0]], after)
    if command == "test":
        filters += [word for word in after if not word.startswith("-")]
        for word in filters:
            if not is_placeholder(word) and not any(has_test(folder, word) for folder in folders(named)):
                problem(place, f"cargo: no test of {' and '.join(named) or 'the workspace'} has {word} in its name")
    return True


def folders(named):
    return [packages()[name] for name in named if name in packages()] or list(packages().values())


def has_target(named, kind, name):
    for folder in folders(named):
        files = (folder / TARGETS[kind] / f"{name}.rs", folder / TARGETS[kind] / name / "main.rs")
        if any(file.exists() for file in files) or f'name = "{name}"' in (folder / "Cargo.toml").read_text():
            return True
    return False


def has_test(folder, name):
    """Whether every part of a test's path is in the name of a module, a file or a function."""
    sources = [ROOT / path for path in tracked("*.rs") if (ROOT / path).is_relative_to(folder)]
    for part in name.split("::"):
        if not any(
            part in str(path.relative_to(folder)) or re.search(rf"\b(?:fn|mod) \w*{re.escape(part)}", path.read_text())
            for path in sources
        ):
            return False
    return True


def check_npm(place, page, words):
    """Answers whether all that matters of the call is in this checkout."""
    folder = (ROOT / page).parent
    command, *rest = words[1:] or ["help"]
    if command in ("run", "test"):
        script = rest[0] if command == "run" and rest else command
        manifest = folder / "package.json"
        if not manifest.exists() or script not in json.loads(manifest.read_text()).get("scripts", {}):
            problem(place, f"npm: {manifest.relative_to(ROOT)} has no script {script}")
        return True
    if command == "install":
        given = [word for word in rest if not word.startswith("-")]
        return bool(given) and all(is_our_package(place, word) for word in given)
    return command in ("ci", "pack")


def is_our_package(place, word):
    manifests = {path: json.loads((ROOT / path).read_text()) for path in tracked("packages/*/package.json")}
    if word.startswith("../lumio/"):
        if f"{word.removeprefix('../lumio/')}/package.json" not in manifests:
            problem(place, f"npm: there is no package in {word}")
        return True
    if word.endswith(".tgz"):
        made = {f"./{manifest['name']}-{manifest['version']}.tgz" for manifest in manifests.values() if "version" in manifest}
        if word not in made:
            problem(place, f"npm: `npm pack` makes {sorted(made)}, not {word}")
        return True
    return False


def script_of(page, name):
    """The file of the checkout that is started by a name, from its root or from the page's folder."""
    if "/" not in name or name.startswith(("/", "~")):
        return None
    found = [folder / name for folder in (ROOT, (ROOT / page).parent) if (folder / name).is_file()]
    return found[0] if found else None


def check_command(place, page, words):
    """Names what is wrong with a call. Answers whether everything about it can be judged here."""
    program, *rest = words
    if program in OWN:
        check_own(place, program, rest)
    if program in OWN or program == "cargo":
        for word in rest:
            if PATHS.fullmatch(word) and not is_placeholder(word) and not (ROOT / word).exists():
                problem(place, f"there is no {word}")
    if program == "cargo":
        return check_cargo(place, words)
    if program == "npm":
        return check_npm(place, page, words)
    if program == "node":
        file = next((word for word in rest if not word.startswith("-")), "")
        if not ((ROOT / page).parent / file).is_file():
            problem(place, f"there is no {file} for node")
        return True
    if program not in OWN and (script := script_of(page, program)):
        text = script.read_text()
        for word in rest:
            option = re.match(r"--[a-z][a-z0-9-]*", word)
            if option and option[0] not in text:
                problem(place, f"{program} has no option {option[0]}")
        return True
    return program in OWN or program in SHELL


# --- all together ---


def check_sentence(place, page, text):
    """A command that is named without being a line for the shell: in a sentence, or in a list of commands."""
    words = synopsis(text)
    if len(words) > 1 and (words[0] in (*OWN, "cargo", "node") or script_of(page, words[0])):
        check_command(place, page, words)


def is_run(block, statement):
    section, test = RUN.get(block.page, ("", None))
    if block.page == NETWORK_PAGE:
        return is_of_network(block) and statement.startswith("curl ")
    return test is not None and block.language == "sh" and (section is None or section in block.section)


@functools.cache
def scripts():
    return "".join((ROOT / path).read_text() for path in tracked("scripts/*.sh"))


def check_block(block):
    """Answers how many commands the block has."""
    count = 0
    for number, statement in statements(block):
        place = f"{block.page}:{number}"
        text, _, comment = statement.partition(" # ")
        judged = [check_command(place, block.page, words) for words in commands(statement)]
        count += len(judged)
        if all(judged) or block.marked or block.page.startswith(BY_HAND):
            continue
        if is_run(block, statement) or comment.strip().startswith("needs ") or text.strip() in scripts():
            continue
        problem(place, f"neither run by a test nor marked: {text.strip()}")
    return count


def check_page(page):
    """Answers how many commands the page has."""
    count = 0
    blocks, paragraphs = read(page)
    for block in blocks:
        if block.language in ("sh", "bash", "console"):
            count += check_block(block)
        elif block.language in ("", "text"):
            # A line that begins with a bracket goes on with the one before it.
            for line in re.sub(r"\s*\\?\n\s+(?=[\[-])", " ", block.text).splitlines():
                check_sentence(f"{page}:{block.line}", page, re.split(r"\s{2,}|\s#\s", line.strip())[0])
    for line, text in paragraphs:
        for _, code in re.findall(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", text):
            count += 1
            check_sentence(f"{page}:{line}", page, code.replace("\\|", "|").strip())
    return count


def check_tests_of_pages():
    """A test that runs a page's commands names the page that it takes them from."""
    for page, (section, test) in RUN.items():
        if page not in (ROOT / test).read_text():
            problem(page, f"{test} does not name it")
        if section and section not in [title for block in read(page)[0] for title in block.section]:
            problem(page, f"there is no section {section} with a command")


def run_here():
    for text in RUN_HERE:
        ended = subprocess.run(["sh", "-c", text], cwd=ROOT, capture_output=True, text=True)
        if ended.returncode != 0:
            problem(text, ended.stdout + ended.stderr)


def is_of_network(block):
    return block.language == "console" and "curl" in block.text


def run_network_page():
    """The requests of the local network's page, in their order, to a network of their own. Answers how many there are."""
    network = subprocess.Popen(
        [PROGRAMS / "lumio-localnet", "--port", "0", "--control", "--ledger-interval-ms", "100", "--log-level", "error"],
        stdout=subprocess.PIPE, text=True,
    )
    count = 0
    try:
        address = network.stdout.readline().removeprefix("listening on ").strip()
        for block in filter(is_of_network, read(NETWORK_PAGE)[0]):
            lines = block.text.splitlines()
            for line, following in zip(lines, [*lines[1:], ""]):
                if not line.startswith("$ curl "):
                    continue
                count += 1
                request = line.removeprefix("$ curl ").replace("http://127.0.0.1:8000", address)
                asked = ["sh", "-c", f"curl --silent --show-error --fail --noproxy '*' --max-time 30 {request}"]
                ended = subprocess.run(asked, capture_output=True, text=True)
                if ended.returncode != 0 or not answers_alike(ended.stdout, following):
                    problem(NETWORK_PAGE, f"`{line}` ends with {ended.returncode}: {ended.stdout}{ended.stderr}")
    finally:
        network.terminate()
        network.wait(30)
    return count


def answers_alike(answer, shown):
    """Whether an answer has the members that the page shows of it."""
    return not shown.startswith("{") or set(json.loads(answer)) == set(json.loads(shown))


def check_itself():
    """What is wrong is seen: a way of reading help or pages that sees nothing would find nothing wrong."""
    wrong = [
        "lumio frobnicate", "lumio run watch", "lumio verify --no-such-option RUN", "runner intake pause | stop",
        "oracle-gate check --profile prod --deep", "module-gate gates shipping --no-such-option .", "lumio-localnet --gone",
        "./dev frobnicate", "./dev test frobnicate", "cargo t runner --test none", "cargo test -p none",
        "cargo t runner --test it frobnicate", "contracts/build --frobnicate",
    ]
    right = [
        "lumio --output json run list --limit 5", "runner channels list | add [--count N] | drain ACCOUNT",
        "module-gate guard run --root . -- make --jobs", "./dev test unit", "cargo t runner --test it settling",
    ]
    for text in wrong + right:
        before = len(problems)
        check_sentence("here", "README.md", text)
        found = len(problems) > before
        del problems[before:]
        if found != (text in wrong):
            problem("tests/deploy/pages.py", f"`{text}` is {'refused' if found else 'accepted'}")
    block = Block("README.md", 1, "sh", "kubectl get pods\ncat <<'TEXT'\nno command\nTEXT\n", [], False)
    before = len(problems)
    check_block(block)
    found = problems[before:]
    del problems[before:]
    if len(found) != 1 or "kubectl" not in found[0]:
        problem("tests/deploy/pages.py", f"of a command without a mark it says {found}")


if __name__ == "__main__":
    PROGRAMS = pathlib.Path(sys.argv[1]).resolve()
    pages = [page for page in tracked("*.md") if page not in NOT_READ]
    check_itself()
    check_tests_of_pages()
    run_here()
    number = sum(check_page(page) for page in pages)
    requests = run_network_page()
    if number < 500 or requests < 5:
        problem("tests/deploy/pages.py", f"only {number} commands and {requests} requests were found")
    for text in problems:
        print(text)
    print(f"pages: {number} commands of {len(pages)} pages, {len(problems)} problems")
    sys.exit(1 if problems else 0)
