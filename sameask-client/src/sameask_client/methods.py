"""A method of a client, made of the function that describes its request: the same parameters, another result."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def like(build: Callable[..., Any], *first: str) -> Callable[[Method], Method]:
    """Gives a method name, docstring and signature of `build`, behind `self` and parameters named `first`."""

    names = ("self", *first)

    def dressed(method: Method) -> Method:
        described = inspect.signature(build)
        own = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in names]
        method.__name__ = build.__name__
        method.__doc__ = build.__doc__
        parameters = [*own, *described.parameters.values()]
        method.__signature__ = described.replace(  # type: ignore[attr-defined]
            parameters=parameters, return_annotation=inspect.Signature.empty
        )
        return method

    return dressed
