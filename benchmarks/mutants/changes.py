"""What a small mistake is: one operator, comparison, number, truth or name of a module, changed."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "Mutant", "mutant", "places"]

ROOT = Path(__file__).resolve().parents[2]
OPERATORS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add, ast.Mult),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult, ast.Sub),
    ast.FloorDiv: (ast.Mult, ast.Add),
    ast.Mod: (ast.FloorDiv, ast.Mult),
    ast.Pow: (ast.Mult, ast.Add),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitOr,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
NAMES = {"min": "max", "minimum": "maximum", "amin": "amax", "sin": "cos", "floor": "ceil"}
NAMES |= {"any": "all", "zeros": "ones", "nanmin": "nanmax", "zeros_like": "ones_like"}
NAMES |= {after: before for before, after in NAMES.items()}
TYPES = (ast.arg, ast.AnnAssign, ast.FunctionDef, ast.AsyncFunctionDef)


def without_types(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.stmt | None, str]]:
    """Every node that computes, with its statement and the line of its function ("" outside)."""

    def walk(
        node: ast.AST, statement: ast.stmt | None, function: str
    ) -> Iterator[tuple[ast.AST, ast.stmt | None, str]]:
        if isinstance(node, ast.stmt):
            statement = node
        yield node, statement, function
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns") and isinstance(node, TYPES):
                continue
            if isinstance(node, ast.keyword) and node.arg == "stacklevel":
                continue  # of a warning: no result
            inside = function
            if (
                isinstance(node, ast.FunctionDef) and name == "body"
            ):  # its first line: co_firstlineno
                inside = str(min([node.lineno, *(d.lineno for d in node.decorator_list)]))
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from walk(child, statement, inside)

    yield from walk(tree, None, "")


def changes(node: ast.AST) -> list[ast.AST]:
    """What one node may become."""
    found: list[ast.AST] = []

    def another(**fields: Any) -> None:
        one = copy.copy(node)
        for name, value in fields.items():
            setattr(one, name, value)
        found.append(one)

    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        for operator in OPERATORS.get(type(node.op), ()):
            another(op=operator())
    elif isinstance(node, ast.Compare):
        for i, old in enumerate(node.ops):
            for new in OPERATORS[type(old)]:
                another(ops=[*node.ops[:i], new(), *node.ops[i + 1 :]])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        found.append(node.operand)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        another(value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        another(value=node.value + 1)
        another(value=node.value - 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        another(value=node.value + 1)
        if node.value:
            another(value=node.value * 1.5)
    elif isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in NAMES:
            function = copy.copy(node.func)
            setattr(function, "id" if isinstance(function, ast.Name) else "attr", NAMES[name])
            another(func=function)
    return found


class Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


@dataclass(frozen=True)
class Mutant:
    path: str
    line: int
    function: str  # where it begins, as :func:`without_types` says
    before: str
    after: str
    module: str  # the whole text of the file

    @property
    def key(self) -> str:
        return " | ".join([self.path, *self.shown()])

    def shown(self) -> tuple[str, str]:
        """Before and after; of long statements what is about the change."""
        pair = (self.before, self.after)
        unlike = (i for i, (a, b) in enumerate(zip(*pair, strict=False)) if a != b)
        same = next(unlike, min(map(len, pair)))
        end = max(map(len, pair)) if max(map(len, pair)) < 160 else same + 40
        start = 0 if end > same + 40 else max(0, same - 60)
        return pair[0][start:end], pair[1][start:end]


def head(statement: ast.stmt) -> str:
    """The text of a statement without those that it holds."""
    short = copy.copy(statement)
    for name in ("body", "orelse", "finalbody", "handlers"):
        if isinstance(getattr(short, name, None), list):
            setattr(short, name, [ast.Pass()] if name == "body" else [])
    return " ".join(ast.unparse(ast.fix_missing_locations(short)).removesuffix("pass").split())


@cache
def text_of(path: str) -> str:
    """A file as it was at the beginning, whatever is done to the tree in the meantime."""
    return (ROOT / path).read_text()


def places(path: str) -> list[tuple[str, int, int]]:
    """Every change of a file: its path, which node, which of the node's changes."""
    nodes = without_types(ast.parse(text_of(path)))
    return [(path, i, j) for i, (node, _, _) in enumerate(nodes) for j in range(len(changes(node)))]


def mutant(path: str, place: int, number: int) -> Mutant:
    """The file with one change."""
    tree = ast.parse(text_of(path))
    node, statement, function = list(without_types(tree))[place]
    assert statement is not None  # a module itself has no changes
    before = head(statement)
    new = ast.copy_location(changes(node)[number], node)
    changed = Replace(node, new).visit(tree)
    after = list(without_types(changed))[place][1] or statement
    line = getattr(node, "lineno", statement.lineno)
    text = ast.unparse(ast.fix_missing_locations(changed))
    return Mutant(path, line, function, before, head(after), text)
