"""Print every method as Markdown, as in docs/methods.md."""

from collections.abc import Iterable

from rlvr_dynamics.extrapolation import EXTRAPOLATORS, RECONSTRUCTIONS, Declaration


def methods_in_markdown() -> str:
    """Return a table of the extrapolators and one of the reconstructions, from the registry."""
    return "\n".join(
        [
            "### Extrapolators\n",
            *_table(EXTRAPOLATORS.values()),
            "\n### Reconstructions\n",
            *_table(RECONSTRUCTIONS.values()),
        ]
    )


def _table(methods: Iterable[Declaration]) -> Iterable[str]:
    yield "| name | in tables and figures | what it does | settings | source |"
    yield "|---|---|---|---|---|"
    for each in methods:
        settings = "<br>".join(
            f"`{name}` = {parameter.default}: {parameter.summary}"
            + (f" ({', '.join(parameter.choices)})" if parameter.choices else "")
            for name, parameter in each.parameters.items()
        )
        yield f"| `{each.name}` | {each.title} | {each.summary} | {settings} | <{each.paper}> |"


if __name__ == "__main__":
    print(methods_in_markdown())
