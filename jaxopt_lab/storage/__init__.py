"""Everything that touches the disk: one writer, one reader, one lock, one fingerprint, and the results folder."""

from jaxopt_lab.storage.folder import read_record, read_rows, read_verdicts

__all__ = [
    "read_record",
    "read_rows",
    "read_verdicts",
]
