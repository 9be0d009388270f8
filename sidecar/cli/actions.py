"""Actions of a command, such as `sidecar ssf verify`: each explains itself as a command does."""

import argparse


def add_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    command: argparse.ArgumentParser,
    name: str,
    does: str,
) -> argparse.ArgumentParser:
    """Add an action, with those of the command's examples that are of it, and its exit status."""
    lines = (command.epilog or "").splitlines()
    examples = [line for line in lines if f"{line} ".startswith(f"  {command.prog} {name} ")]
    status = [line for line in lines if line.startswith("exit status:")]
    return actions.add_parser(
        name,
        help=does,
        description=f"{does[0].upper()}{does[1:]}.",
        epilog="\n".join(["examples:", *examples, "", *status]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
