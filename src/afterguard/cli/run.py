"""The outermost frame: every way a command can end becomes an exit code and a sentence.

In: argv. Out: an exit code (errors.py). A traceback is shown only for a defect of Afterguard itself, and only with --verbose.
"""

from __future__ import annotations

import errno
import os
import sys

from afterguard import errors
from afterguard.safe import terminal


def run(argv: list[str] | None = None) -> int:
    """Run one command; never raises."""
    from cyclopts import CycloptsError

    from afterguard.cli.app import app

    words = sys.argv[1:] if argv is None else argv
    try:
        result = app(words, exit_on_error=False, print_error=True, result_action="return_value")
        sys.stdout.flush()
        return result if isinstance(result, int) else errors.EXIT_OK
    except errors.AfterguardError as error:
        print(
            f"afterguard: {terminal(str(error))}\n  what to do: {terminal(error.hint)}  [{error.slug}]", file=sys.stderr
        )
        return error.exit_code
    except CycloptsError:
        print("  what to do: see --help", file=sys.stderr)
        return errors.EXIT_USAGE
    except KeyboardInterrupt:
        print("\nafterguard: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader left (| head): not an error, and nothing more may be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return errors.EXIT_OK
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            return _defect(error, words)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(
            f"afterguard: cannot write: {error.strerror}\n  what to do: make room, or use -o FILE elsewhere  [cannot-write]",
            file=sys.stderr,
        )
        return errors.EXIT_USAGE
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else errors.EXIT_OK
    except Exception as error:
        return _defect(error, words)


def _defect(error: Exception, words: list[str]) -> int:
    if "-v" in words or "--verbose" in words:
        import traceback

        traceback.print_exception(error)
    print(
        f"afterguard: internal error: {type(error).__name__}: {terminal(str(error))[:300]}\n"
        "  what to do: run again with --verbose and report it; nothing was changed  [internal-error]",
        file=sys.stderr,
    )
    return errors.EXIT_INTERNAL
