"""`python -m longshore`."""

import sys


def main() -> None:
    if sys.argv[1:] == ["agent"]:
        # Started for every instance: without the time that the commands' library takes to import.
        from longshore.agent.main import main as agent

        sys.exit(agent())
    from longshore.cli.main import main as commands

    commands()


if __name__ == "__main__":
    main()
