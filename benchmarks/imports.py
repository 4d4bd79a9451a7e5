"""What do `import jaxopt_lab` and `jaxopt-lab --help` cost?

    python -m benchmarks.imports

Wall seconds of fresh processes, medians, beside an empty process and `import jax`; and how many modules each loads.
"""

import subprocess
import sys
import time

import numpy as np

COMMANDS = {
    "python -c pass": "pass",
    "import jaxopt_lab": "import jaxopt_lab",
    "jaxopt-lab --help": "import sys; sys.argv = ['jaxopt-lab', '--help']\nfrom jaxopt_lab.cli import main\nmain()",
    "import jax": "import jax",
    "import jaxopt_lab.rules": "import jaxopt_lab.rules",
    "import jaxopt_lab.training": "import jaxopt_lab.training",
}


def main() -> None:
    """Prints the table."""
    print(f"{'command':30}{'seconds':>10}{'modules':>10}")
    for name, code in COMMANDS.items():
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
            seconds.append(time.perf_counter() - began)
        count = "import atexit, sys; atexit.register(lambda: print(len(sys.modules), file=sys.stderr))\n" + code
        shown = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, check=True)
        print(f"{name:30}{np.median(seconds):>10.3f}{shown.stderr.strip():>10}")


if __name__ == "__main__":
    main()
