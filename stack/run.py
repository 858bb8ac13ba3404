"""`python -m stack.run TARGET MODULE [ARGUMENT ...]`: run a module for a make target in the project's environment."""

import sys

from feature_repo.settings import PROJECT_ROOT, Settings
from stack import reporting
from stack.environment import for_processes
from stack.java import NoJava


def main() -> int:
    """Exit code of the module; 2 with an honest line when this checkout does not have it yet."""
    target, module, *arguments = sys.argv[1:]
    if not runnable(module):
        print(f"make {target}: not built yet (this checkout has no program {module}).", file=sys.stderr)
        return 2
    try:
        settings = Settings.from_env()
        environment = for_processes(settings)
    except (ValueError, NoJava) as problem:
        print(f"make {target}: {problem}", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", module, *arguments]
    return reporting.run(target, command, environment, settings.logs_dir / f"make-{target}.log")


def runnable(module: str) -> bool:
    """Whether `module` is a program of this checkout: a file that does something when it is run."""
    path = PROJECT_ROOT.joinpath(*module.split("."))
    entry = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    return entry.exists() and "__main__" in (entry.name + entry.read_text())


if __name__ == "__main__":
    sys.exit(main())
