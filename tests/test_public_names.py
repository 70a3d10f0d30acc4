"""Every public name is documented, no name hides a wrong unit, and the examples of the docstrings run."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("commsim", "collectives", "topologies", "experiments")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
IDS = [str(path.relative_to(ROOT)) for path in FILES]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_algorithm_file(path):
    """Its programs are described by the module: collectives/<collective>/<algorithm>.py."""
    return path.relative_to(ROOT).parts[0] == "collectives" and len(path.relative_to(ROOT).parts) == 3


def public(body, kinds):
    return [node for node in body if isinstance(node, kinds) and not node.name.startswith("_")]


def undocumented(tree):
    """Public functions, classes and methods without a docstring; an override is documented by what it overrides."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in public(tree.body, (*Function.__args__, ast.ClassDef)):
        if ast.get_docstring(node) is None:
            yield node.name
        if isinstance(node, ast.ClassDef):
            bases = [classes[base.id] for base in node.bases if isinstance(base, ast.Name) and base.id in classes]
            inherited = {method.name for base in bases for method in public(base.body, Function)}
            for method in public(node.body, Function):
                if ast.get_docstring(method) is None and method.name not in inherited:
                    yield f"{node.name}.{method.name}"


def identifiers(tree):
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name"):
            if isinstance(getattr(node, field, None), str):
                yield getattr(node, field)


def test_all_packages_were_found():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(PACKAGES)
    assert len(FILES) > 30


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_public_name_has_a_docstring(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the module says what it is"
    if not is_algorithm_file(path):
        assert list(undocumented(tree)) == []


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_names_end_in_si_units(path):
    wrong = [name for name in identifiers(ast.parse(path.read_text())) if name.lstrip("_").endswith(("_bps", "_us"))]
    assert wrong == []


@pytest.mark.parametrize("package", ["commsim", "collectives", "topologies"])
def test_what_a_package_offers_exists(package):
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


WITH_EXAMPLES = [
    path for path in FILES if ">>>" in path.read_text() and path.relative_to(ROOT).parts[0] != "experiments"
]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_of_docstrings_run(path):
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_there_are_examples():
    assert {"algorithm", "simulate"} <= {path.stem for path in WITH_EXAMPLES}
