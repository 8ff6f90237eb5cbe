"""Parameter counts that are declared as arithmetic."""

import ast
import operator

_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def evaluate(expression: str) -> int:
    """Returns the value of sums, differences and products of whole numbers.

    Raises:
        ValueError: the expression holds anything else.

    Example:
        >>> evaluate("(3*3*1*32 + 32) + 10")
        330
    """
    return _value(ast.parse(expression, mode="eval").body, expression)


def _value(node: ast.expr, expression: str) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, expression), _value(node.right, expression)
        return _OPERATORS[type(node.op)](left, right)
    raise ValueError(
        f"Arithmetic is whole numbers, +, - and *. Received: {ast.unparse(node)!r} "
        f"in {expression!r}."
    )
