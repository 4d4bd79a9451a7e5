"""What training-doctor says of the CSV files of a folder: prints name -> problems, surest first."""

import json
import pathlib
import sys

import training_doctor


def main() -> None:
    """Prints one line of JSON."""
    told = {}
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.csv")):
        doctor = training_doctor.Doctor()
        doctor.load(path)
        found = sorted(doctor.analyze(), key=lambda each: -each.confidence)
        told[path.stem] = list(dict.fromkeys(each.problem for each in found))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
