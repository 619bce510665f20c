"""The changes that mutation testing makes to a module: one at a time, each small enough to be a person's mistake."""

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}
CALLS = {"max": "min", "min": "max", "any": "all", "all": "any"}
# What is not executed when the module does its work, or only says something to a person.
SKIPPED_FIELDS = {"annotation", "returns", "decorator_list", "msg"}
SKIPPED_NODES = (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.Assert)
# Conditions that no other operator changes are negated.
PLAIN_CONDITIONS = (ast.Name, ast.Attribute, ast.Call, ast.NamedExpr)


@dataclass(frozen=True)
class Mutant:
    """A module with one change: where the source says `line` (put on one line), the mutant says `becomes`."""

    module: str
    line: str
    becomes: str
    source: str

    def diff(self, original: str) -> str:
        """The change as a unified diff with a line of context."""
        before, after = original.splitlines(), self.source.splitlines()
        return "\n".join(difflib.unified_diff(before, after, self.module, self.module, lineterm="", n=1))


def mutants(module: str, source: str) -> list[Mutant]:
    """Every mutant of a module's `source`, in the order of its lines."""
    return [
        _mutant(module, source, place, ast.unparse(changed))
        for node in _executed(ast.parse(source))
        for place, changed in _changes(node)
    ]


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    yield tree
    if isinstance(tree, SKIPPED_NODES):
        return
    for name, value in ast.iter_fields(tree):
        if name not in SKIPPED_FIELDS:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _executed(child)


def _changes(node: Any) -> Iterator[tuple[Any, ast.AST]]:  # noqa: C901, PLR0912  a table: a case is an operator
    """The changes to `node`: which part of it is replaced, and by what."""
    match node:
        case ast.Compare(left, operators, comparators):
            for place, operator in enumerate(operators):
                for other in COMPARISONS[type(operator)]:
                    changed = [*operators[:place], other(), *operators[place + 1 :]]
                    yield node, ast.Compare(left, changed, comparators)
        case ast.BinOp(left, ast.BitOr(), _):
            yield node, left
        case ast.BinOp(left, operator, right) if type(operator) in ARITHMETIC:
            yield node, ast.BinOp(left, ARITHMETIC[type(operator)](), right)
        case ast.AugAssign(target, operator, value) if type(operator) in ARITHMETIC:
            yield node, ast.AugAssign(target, ARITHMETIC[type(operator)](), value)
            yield node, ast.Pass()
        case ast.BoolOp(operator, values):
            yield node, ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield node, operand
        case ast.Constant(bool(value)):
            yield node, ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield node, ast.Constant(value + 1)
        case ast.Name(name) if name in CALLS:
            yield node, ast.Name(CALLS[name])
        case ast.Return(value) if value is not None and ast.unparse(value) != "None":
            yield node, ast.Return(ast.Constant(None))
        case ast.Assign([ast.Attribute() | ast.Subscript()]) | ast.Raise() | ast.Break() | ast.Continue():
            yield node, ast.Pass()
        case ast.Expr(ast.Call() | ast.Await() | ast.Yield()):
            yield node, ast.Pass()
        case ast.If(test) | ast.While(test) | ast.IfExp(test) if isinstance(test, PLAIN_CONDITIONS):
            yield test, ast.UnaryOp(ast.Not(), test)


def _mutant(module: str, source: str, place: Any, text: str) -> Mutant:
    lines = source.encode().splitlines(keepends=True)  # columns count bytes
    first, last = place.lineno - 1, place.end_lineno - 1
    changed = lines[first][: place.col_offset] + text.encode() + lines[last][place.end_col_offset :]
    mutated = b"".join([*lines[:first], changed, *lines[last + 1 :]]).decode()
    line = b"".join(lines[first : last + 1]).decode()
    return Mutant(module, " ".join(line.split()), " ".join(changed.decode().split()), mutated)
