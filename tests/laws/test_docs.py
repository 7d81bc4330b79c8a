"""Laws of the pages: Python blocks run, commands parse, names are today's, links lead somewhere, pictures are shown."""

from __future__ import annotations

import importlib
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import _launching as launching  # noqa: F401  # finds the experiments
import jax
import pytest

import rnnjax
from rnnjax import app
from rnnjax.app import run_configs
from rnnjax.app._registry import CELLS, resolve
from rnnjax.base import UserError
from rnnjax.compare._main import parser as compare_parser
from rnnjax.estimators import RULES
from rnnjax.runs._listing import parser as runs_parser
from rnnjax.studies._plan import find_experiment, make_plan

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SITE = [p for p in sorted(DOCS.rglob("*.md")) if not {"_build", "generated"} & set(p.relative_to(DOCS).parts)]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tests" / "README.md", *SITE]
TUTORIALS = sorted((DOCS / "tutorials").glob("*.py"))
OPTIONAL = ("torch", "keras", "haiku")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^(```|:::).*?^\1", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


LONG = (
    "trained_runs", "interop", "looking", "performance", "migration", "howto/notebooks", "howto/carry_state",
    "howto/own_data", "howto/dynamics", "howto/which_rule", "howto/agents", "howto/memory", "howto/lengths",
)  # fmt: skip


def code_of(page: Path):
    """A page whose code runs; those that train or compile for seconds are for the long suite."""
    return pytest.param(
        page,
        id=name_of(page),
        marks=[pytest.mark.slow] if name_of(page) in [f"docs/{name}.md" for name in LONG] else [],
    )


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize("page", [code_of(p) for p in PAGES if BLOCK.search(p.read_text())])
def test_the_code_of_a_page_runs(page: Path, tmp_path, monkeypatch, optimized):
    names: dict = {}
    text = page.read_text()
    monkeypatch.chdir(tmp_path)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in BLOCK.finditer(text):
            line = text[: block.start(1)].count("\n")
            try:
                exec(compile("\n" * line + block.group(1), str(page), "exec"), names)
            except ModuleNotFoundError as error:
                if error.name not in OPTIONAL:
                    raise
                pytest.skip(f"{error.name} is not installed: pip install -e '.[bench]'")


def test_the_loop_of_the_readme_is_short():
    """Truncated backpropagation through time in at most 16 lines."""
    [loop] = [code for code in BLOCK.findall((ROOT / "README.md").read_text()) if "optimizer.update" in code]
    assert len([line for line in loop.splitlines() if line]) <= 16 and "\nassert value < " in loop


class Command(NamedTuple):
    """A command as a page prints it, `python -m MODULE ARGUMENTS`, and where."""

    page: str
    line: int
    module: str
    arguments: tuple[str, ...]


COMMAND = re.compile(r"python3? -m ([\w.]+)((?:\\\n|[^`\n])*)")
# What stands for something else on a page: folders of the reader's, letters for a number, a module of the reader's.
PLACEHOLDERS = {
    "=DATA": "=data",
    "=...": "=data",
    "_DELAY.cfg": "_1000.cfg",
    "_LENGTH.cfg": "_200.cfg",
    "=W": "=5",
    "=T": "=1",
}


def commands() -> Iterator[Command]:
    """All commands of all pages, of Python's modules and of ours."""
    for page in [*PAGES, *TUTORIALS]:
        text = page.read_text()
        for match in COMMAND.finditer(text):
            words = shlex.split(match[2].replace("\\\n", " ").partition("  #")[0])
            words = words[: next((i for i, word in enumerate(words) if word in ("&&", ";")), None)]
            words = [filled(word) for word in words if not word.startswith(("--flagfile=runs/", "--help"))]
            yield Command(name_of(page), text[: match.start()].count("\n") + 1, match[1], tuple(words))


def filled(word: str) -> str:
    """An argument with something in the place of a placeholder."""
    for old, new in PLACEHOLDERS.items():
        word = word.removesuffix(old) + new if word.endswith(old) else word
    return word


PARSERS = {"rnnjax.compare": compare_parser(), "rnnjax.runs": runs_parser()}
OURS = [c for c in commands() if c.module.startswith(("experiments.", "rnnjax."))]
OTHERS = [c for c in commands() if c not in OURS]


def shown(command: Command) -> str:
    return f"{command.page}:{command.line}"


@pytest.mark.parametrize("command", OURS, ids=shown)
def test_a_command_of_a_page_parses(command: Command, capsys, monkeypatch):
    if command.module in PARSERS:
        PARSERS[command.module].parse_args(command.arguments)
        return
    monkeypatch.chdir(ROOT)  # flag files are named from there
    module = importlib.import_module("rnnjax.studies" if command.module == "rnnjax.studies" else command.module)
    experiment = module.EXPERIMENT
    config = app.parse(experiment.flags, [command.module, *command.arguments])
    if config.values.get("worker"):  # it asks its coordinator
        assert config.workdir
    elif isinstance(experiment, app.Study) and "experiment" in config.values:
        if importable(config.experiment) and not any("=mylab." in argument for argument in command.arguments):
            assert make_plan(config).points
    else:
        check_names(config, cells_of(module))
    assert "from 0.2.0 on" not in capsys.readouterr().err, "an old name"


def cells_of(module) -> dict:
    """The cells that an experiment takes beside the library's."""
    return {**getattr(module, "TREE_CELLS", {}), **getattr(module, "CELLS", {})}


def importable(experiment: str) -> bool:
    """Whether a study's experiment is one of ours; a page may name one that the reader will write."""
    try:
        return bool(find_experiment(experiment))
    except UserError:
        assert experiment.startswith("mylab.")
        return False


def check_names(config: app.Config, own: dict) -> None:
    """Cells, rules and optimisers that a command names exist; a module `mylab` is the reader's."""
    for name in config.values.get("rules", []):
        resolve("rules", name, RULES)
    if "cell" not in config.values:
        return
    for single in run_configs(config):
        if not single.cell.startswith("mylab."):
            resolve("cell", single.cell, {**CELLS, **own})
        if "rule" in single.values:
            resolve("rule", single.rule, RULES)
        if "optimizer" in single.values:
            single.make_optimizer()


@pytest.mark.parametrize("command", OTHERS, ids=shown)
def test_a_module_and_the_tests_that_a_page_names_exist(command: Command):
    if command.module.startswith("mylab."):  # the reader's
        return
    if command.module.startswith("benchmarks."):
        assert (ROOT / command.module.replace(".", "/")).with_suffix(".py").exists()
    else:
        assert command.module in ("pip", "venv", "pytest", "sphinx", "http.server", "experiments", "tests.storm"), (
            command.module
        )
    if command.module == "pytest":
        for word in command.arguments:
            if word.startswith(("tests/", "rnnjax/")):
                assert (ROOT / word.partition("::")[0]).exists(), word


FLAG = re.compile(r"`--(?:no)?(\w+)")
OF_OTHER_TOOLS = {"help", "flagfile", "gpus"}  # of absl and SLURM


@pytest.fixture(scope="module")
def known_flags() -> set[str]:
    """The flags of all experiments, and what the benchmarks and the storm define."""
    names = [p.stem for p in (ROOT / "experiments").glob("[!_]*.py")]
    experiments = [importlib.import_module(f"experiments.{name}").EXPERIMENT for name in names]
    others = [*(ROOT / "benchmarks").glob("*.py"), ROOT / "tests" / "storm" / "__main__.py"]
    text = "".join(p.read_text() for p in others)
    benchmarks = set(re.findall(r"(?:DEFINE_\w+\(|add_argument\()\s*\"(?:--)?(\w+)", text))
    return {flag for e in experiments for flag in e.flags} | benchmarks | OF_OTHER_TOOLS


@pytest.mark.parametrize("page", [p for p in PAGES if FLAG.search(p.read_text())], ids=name_of)
def test_the_flags_that_a_page_names_are_flags_of_today(page: Path, known_flags):
    shown = set(re.findall(r"`--(\w+)", page.read_text()))
    assert {flag for flag in shown if not {flag, flag.removeprefix("no")} & known_flags} == set()


FOLDERS = [p.name for p in (ROOT / "rnnjax").iterdir() if (p / "__init__.py").exists()]
DOTTED = re.compile(rf"`((?:rnnjax(?=\.\w)|{'|'.join(FOLDERS)}(?=\.[a-z]))(?:\.\w+)+)(?=[(`])")


@pytest.mark.parametrize("page", [p for p in PAGES if DOTTED.search(p.read_text())], ids=name_of)
def test_the_names_of_a_page_are_names_of_today(page: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for full in DOTTED.findall(page.read_text()):
            if (ROOT / full.partition(".")[0] / f"{full.rpartition('.')[2]}.py").exists():
                continue  # a module of the experiments
            thing = rnnjax
            for part in full.removeprefix("rnnjax.").split("."):
                assert hasattr(thing, part), f"{page.name}: {full}"
                thing = getattr(thing, part)


OF_OTHERS = {
    "carry_init", "detach_", "pack_padded_sequence", "recurrent_dropout", "reset_states", "time_major",
    "trainable_initial_state", "optimization_barrier", "triangular_solve", "bad_cast", "rank_promotion",
    "input_ids", "xla_cpu_max_isa", "xla_cpu_parallel_codegen_split_count", "test_properties_",
}  # fmt: skip


@pytest.fixture(scope="module")
def words_of_the_sources():
    """All words of the sources and of their names."""
    folders = ("rnnjax", "experiments", "tests", "benchmarks", "docs", ".ci")
    files = [p for folder in folders for p in (ROOT / folder).rglob("*") if "_build" not in p.parts]
    sources = [p for p in files if p.suffix == ".py" and p != Path(__file__)]
    code = "".join(p.read_text(encoding="utf-8") for p in sources)
    return set(re.findall(r"\w+", code + " ".join(str(p.relative_to(ROOT)) for p in files))) | OF_OTHERS


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_name_in_the_text_of_a_page_is_in_the_sources_or_in_its_examples(page: Path, words_of_the_sources):
    text = page.read_text()
    known = words_of_the_sources | set(re.findall(r"\w+", " ".join(m.group() for m in FENCE.finditer(text))))
    shown = {w for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)) for w in re.findall(r"\b[a-z]\w*_\w*", code)}
    assert {w for w in shown if w not in known} == set()


def test_every_rule_is_in_the_guide():
    text = (DOCS / "howto" / "which_rule.md").read_text()
    assert [name for name in RULES if f"| `{name}` |" not in text] == []


def test_every_picture_is_in_the_gallery():
    text = (DOCS / "gallery.md").read_text()
    assert [p.name for p in sorted((DOCS / "images").iterdir()) if f"images/{p.name}" not in text] == []


def targets(page: Path) -> list[str]:
    """The files that a page links to."""
    text = FENCE.sub("", page.read_text())
    return re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in targets(page):
            made = "generated/" in target  # at build time
            assert made or (page.parent / target).exists(), f"{name_of(page)}: {target}"


@pytest.mark.parametrize("page", [ROOT / "README.md", *SITE], ids=name_of)
def test_no_line_of_a_page_is_long(page: Path):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert [f"{i}: {len(line)}" for i, line in enumerate(lines, 1) if len(line) > 120] == []


def test_every_page_of_the_site_is_in_a_table_of_contents():
    listed = set()
    for page in SITE:
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            entries = [line.strip() for line in tree.splitlines() if line[:1] != ":"]
            listed |= {str((page.parent / entry).relative_to(DOCS)) for entry in entries}
    assert {str(p.relative_to(DOCS).with_suffix("")) for p in SITE} - {"index"} <= listed


def hunks() -> Iterator[tuple[str, str]]:
    """The files of the diff that CONTRIBUTING.md prints, with the lines that each of its hunks expects to find."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for part in re.findall(r"^--- a/(.*\n(?:(?!--- |```).*\n)*)", text, re.MULTILINE):
        path, _, rest = part.partition("\n")
        for hunk in re.split(r"^@@.*\n", rest, flags=re.MULTILINE)[1:]:
            yield path, "".join(f"{line[1:]}\n" for line in hunk.splitlines() if line[:1] != "+")


def test_the_diff_of_a_new_cell_applies():
    assert [path for path, old in hunks() if old not in (ROOT / path).read_text()] == []
    assert len(list(hunks())) > 5
