"""The plan of the house, checked: who may import whom, where libraries live, and what importing must not do."""

import ast
import importlib.util
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from utils.core.config import ROOT

PILLARS = ("models", "utils.data", "utils.training", "utils.inference", "utils.evaluation", "utils.export")
GROUND = "utils.core"
DOORS = ("train", "val", "detect", "export", "test")
ALONE = ("onnx_inference",)  # imports nothing of ours
OURS = ("models", "utils", "doors", "demos", "onnx_inference", "benchmarks", *DOORS)

# A class that takes a file name must open it: the one place in a pillar that does what doors do (docs/decisions.md).
DOORS_WITHIN = {"utils/inference/predictor.py": {"models.build", "models.layers"}}

LIBRARY_HOMES = {
    "cv2": (
        "utils/core/images.py", "utils/data/augment.py", "utils/data/drawing/",
        "utils/inference/media/", "utils/inference/draw.py", "onnx_inference/",
    ),
    "yaml": ("utils/core/config.py",),
    "torchvision": ("utils/core/nms.py",),
    "safetensors": ("utils/core/checkpoint.py",),
    "hotcoco": ("utils/evaluation/coco.py",),
    "pycocotools": ("utils/evaluation/coco.py",),
    "matplotlib": (
        "utils/training/log.py", "utils/evaluation/errors.py", "utils/data/checking/pages.py", "demos/fusion_figure.py",
    ),
    "onnx": ("utils/export/",),
    "onnxscript": ("utils/export/",),
    "onnxslim": ("utils/export/",),
    "onnxruntime": ("utils/export/", "utils/inference/onnx_model.py", "onnx_inference/", "benchmarks/"),
    "tensorboard": ("utils/training/log.py",),
    "tqdm": ("utils/core/console.py",),
    "mss": ("utils/inference/media/live.py",),
    "PIL": (),
    "pandas": (),
    "scipy": (),
}  # fmt: skip

MODULES = {"opencv-python": "cv2", "pyyaml": "yaml"}  # whose module is named unlike the package

# What the originals wrote for 17 keypoints: the keypoints, their numbers, the columns of their labels and outputs.
KEYPOINT_NUMBERS = {17, 34, 51, 56, 57}


def sources() -> list[Path]:
    """Every Python file of the product; tests are not part of the house."""
    found = [path for name in OURS for path in (ROOT / name).rglob("*.py")]
    return sorted(found + [ROOT / f"{door}.py" for door in DOORS if (ROOT / f"{door}.py").exists()])


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file, by its full name."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import"
            base = str(node.module)
            modules = {f"{base}.{alias.name}" for alias in node.names}
            found |= {m if (ROOT / Path(*m.split("."))).with_suffix(".py").exists() else base for m in modules}
    return found


def floor(module: str) -> str:
    """The pillar, the ground or the door that a module belongs to."""
    for name in (GROUND, *PILLARS, *ALONE):
        if module == name or module.startswith(f"{name}."):
            return name
    return "door"


def is_ours(module: str) -> bool:
    return module.split(".")[0] in OURS


def test_there_is_something_to_check() -> None:
    assert {"models/build.py", "utils/core/contract.py"} <= {name_of(path) for path in sources()}


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_imports_only_go_down(path: Path) -> None:
    own = floor(module_of(path))
    for module in filter(is_ours, imports(path)):
        if module in DOORS_WITHIN.get(name_of(path), ()):
            continue
        if own == "door":
            assert module.split(".")[0] not in DOORS, f"{name_of(path)} imports the door {module}"
        elif own in ALONE:
            pytest.fail(f"{name_of(path)} stands alone but imports {module}")
        else:
            allowed = (own, GROUND, "utils")
            assert floor(module) in allowed or module in allowed, f"{name_of(path)} ({own}) imports {module}"


def test_imports_go_in_no_circle() -> None:
    graph = {module_of(path): {m for m in _eager_imports(path) if is_ours(m)} for path in sources()}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above[above.index(module) :], module))
        if module not in done:
            for imported in graph.get(module, ()):
                visit(imported, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def _eager_imports(path: Path) -> set[str]:
    """Imports that happen when the file is imported: not those within functions or for the type checker alone."""
    found: set[str] = set()
    module = tree(path)
    body = [node for node in module.body if not isinstance(node, ast.If)]
    for node in body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            candidates = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {
                m if (ROOT / Path(*m.split("."))).with_suffix(".py").exists() else str(node.module) for m in candidates
            }
    return found


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_each_library_is_imported_at_home_only(path: Path) -> None:
    if name_of(path).startswith("benchmarks/"):
        return  # they measure the house against the bare libraries
    for module in imports(path):
        homes = LIBRARY_HOMES.get(module.split(".")[0])
        assert homes is None or name_of(path).startswith(homes), f"{name_of(path)} imports {module}; its home: {homes}"


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_no_code_knows_how_many_keypoints_there_are(path: Path) -> None:
    if name_of(path) == "models/yolox_published.py":
        return  # its numbers are rows of the network
    if name_of(path).startswith("utils/data/drawing/"):
        return  # its numbers are angles, colours and lengths; tests/data/test_people.py draws other skeletons
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            assert node.value not in KEYPOINT_NUMBERS, f"{name_of(path)}:{node.lineno}: {node.value}; ask the schema"


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_no_file_evaluates_text_or_imports_everything(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "__import__"), f"{name_of(path)}:{node.lineno}: {node.func.id}"
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), f"{name_of(path)}:{node.lineno}: import *"
        if isinstance(node, ast.Attribute) and node.attr == "path" and isinstance(node.value, ast.Name):
            told = f"{name_of(path)}:{node.lineno}: sys.path"
            assert node.value.id != "sys" or path.name == "_root.py", told


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_files_hold_one_idea_and_say_which(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    limit = 130 if floor(module_of(path)) == "door" and len(path.relative_to(ROOT).parts) == 1 else 300
    assert lines <= limit, f"{name_of(path)} has {lines} lines; a file holds one idea in at most {limit}"
    sentence = ast.get_docstring(tree(path))
    assert sentence, f"{name_of(path)} does not say what lives in it"


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_every_function_has_types(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            told = f"{name_of(path)}:{node.lineno}: {node.name}"
            assert not bare, f"{told}: {', '.join(bare)} without a type"
            assert node.returns is not None, f"{told}: no return type"


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_top_level_code_only_defines(path: Path) -> None:
    """Imports, constants, functions and classes; nothing that acts unless the file is run."""
    for node in tree(path).body:
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), f"{name_of(path)}:{node.lineno}: a call at import"
        elif isinstance(node, ast.If):
            test = ast.unparse(node.test)
            assert test in ("TYPE_CHECKING", "__name__ == '__main__'"), f"{name_of(path)}:{node.lineno}: if {test}"
        else:
            allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.ClassDef)
            assert isinstance(node, allowed), f"{name_of(path)}:{node.lineno}: {type(node).__name__} at import"


def test_importing_everything_prints_nothing_writes_nothing_and_changes_nothing(tmp_path: Path) -> None:
    modules = [module_of(path) for path in sources() if path.name != "__main__.py"]
    code = f"""
import os, sys, random, warnings
import cv2, matplotlib, numpy, safetensors.torch, torch, torch.utils.flop_counter, torchvision.ops  # theirs are theirs
def state():
    return (torch.get_num_threads(), torch.get_default_dtype(), cv2.getNumThreads(), dict(os.environ), list(sys.path),
            numpy.get_printoptions(), random.getstate(), torch.get_rng_state().tolist(), torch.is_grad_enabled(),
            torch.backends.cudnn.benchmark, os.getcwd())
before = state()
for name in {modules!r}:
    __import__(name)
after = state()
changed = [(repr(x)[:300], repr(y)[:300]) for x, y in zip(before, after) if repr(x) != repr(y)]
assert not changed, changed
"""
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:models", "-c", code],
        cwd=empty, env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and done.stderr == ""
    assert list(empty.iterdir()) == []


def test_the_tree_in_the_readme_is_the_tree_on_disk() -> None:
    """One line per file: nothing missing, nothing that is no longer there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```\n(README\.md .*?)```", text, re.DOTALL)
    assert block, "README.md shows no tree"
    listed: list[str] = []
    folder = ""
    for line in block.group(1).splitlines():
        if not line.strip():
            continue
        words = re.split(r"\s{2,}", line.strip())[0]
        if not line.startswith(" "):
            folder = words if words.endswith("/") else ""
            listed += [] if folder else words.split(" ")
        elif words.endswith("/"):
            listed.append(folder + words)
        else:
            listed += [folder + word for word in words.split(" ")]
    real = {name_of(path) for path in sources() if path.name != "__init__.py"}
    folders = tuple(name for name in listed if name.endswith("/"))
    missing = sorted(name for name in real if name not in listed and not name.startswith(folders))
    gone = sorted(name for name in listed if not any(ROOT.glob(name.rstrip("/"))))
    assert not missing, f"README's tree lacks {', '.join(missing)}"
    assert not gone, f"README's tree lists {', '.join(gone)}, which is not there"


def test_every_dependency_is_permissively_licensed() -> None:
    """No GPL and no AGPL among what requirements.txt names and is installed here."""
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        name = re.match(r"[A-Za-z0-9_-]+", line)
        if name and importlib.util.find_spec(MODULES.get(name.group(0), name.group(0).replace("-", "_"))):
            facts = metadata.metadata(name.group(0))
            words = " ".join([facts.get("License") or "", facts.get("License-Expression") or "",
                              *(c for c in facts.get_all("Classifier") or () if "License" in c)])  # fmt: skip
            assert not re.search(r"\bA?GPL", words[:500]), f"{name.group(0)}: {words[:200]}"


def test_the_repository_has_its_frame() -> None:
    for name in ("LICENSE", "NOTICE", "README.md", "Makefile", "requirements.txt", "pyproject.toml", ".ci/run",
                 ".github/workflows/ci.yml", "docs/decisions.md", "docs/models.md", "docs/benchmarks.md"):  # fmt: skip
        assert (ROOT / name).stat().st_size > 0, name
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    notice = (ROOT / "NOTICE").read_text()
    for path in sources():
        first = path.relative_to(ROOT).parts[0]
        assert name_of(path) in notice or f"{first}/" in notice or path.stem in DOORS, f"NOTICE lacks {name_of(path)}"
