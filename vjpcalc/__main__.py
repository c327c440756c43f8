"""The process's entry: nothing heavy is imported before it is known to be needed."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line and exit with its status. A closed pipe ends the process quietly by SIGPIPE."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # ✓ is ? where a terminal's encoding lacks it
    if "--debug" not in sys.argv:
        import warnings

        warnings.simplefilter("ignore")  # of libraries: what a user must know, we say ourselves
    from vjpcalc.cli.app import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
