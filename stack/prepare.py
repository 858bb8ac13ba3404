"""`python -m stack.prepare`: history, features, models and online state, with every part named by the environment."""

import argparse
import sys

from feature_repo.settings import Settings
from stack import demo
from stack.java import NoJava


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stack.prepare", description=__doc__)
    parser.add_argument("--source", default="")
    parser.add_argument("--mapping", default="")
    arguments = parser.parse_args()
    try:
        demo.run_steps(demo.preparation(Settings.from_env(), arguments.source, arguments.mapping))
    except (demo.DemoError, NoJava, ValueError) as problem:
        sys.exit(f"prepare: {problem}")


if __name__ == "__main__":
    main()
