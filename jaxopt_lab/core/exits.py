"""How a command ends: its exit code, and one sentence where that is all that a user needs.

0 all is well and every claim holds   1 a claim fails   2 wrong input   3 anything else   130 stopped by Ctrl-C
"""

import os
import sys
import traceback
from collections.abc import Callable

from jaxopt_lab.core.errors import InputError

HOLDS, FAILS, WRONG_INPUT, CRASHED, STOPPED = 0, 1, 2, 3, 130


def guarded(action: Callable[[], int]) -> int:
    """Runs `action` and returns its exit code.

    Wrong input becomes one sentence on standard error; an unforeseen error keeps its traceback, and is no
    claim that fails; output into a pipe that was closed ends quietly.
    """
    try:
        code = action()
        sys.stdout.flush()
        return code
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. What was finished is kept; the same command continues from there.\n")
        return STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left unwritten goes nowhere
        return HOLDS
    except Exception as error:
        traceback.print_exc()
        sys.stderr.write(f"This is an error of the program, not of your input ({type(error).__name__}).\n")
        return CRASHED
