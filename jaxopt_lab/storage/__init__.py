"""Everything that touches the disk: one writer, one reader, one lock, one fingerprint, and the results folder."""

from jaxopt_lab.storage import archives, files
from jaxopt_lab.storage.archives import load, load_facts, save
from jaxopt_lab.storage.claims import Claims
from jaxopt_lab.storage.encoding import config_from_json, config_hash, from_json, to_json
from jaxopt_lab.storage.files import (
    file_name,
    replacing,
    require_folders,
    require_writable,
    write_bytes,
    write_json,
    write_text,
)
from jaxopt_lab.storage.fingerprints import fingerprint, is_reusable, problem_fingerprint, program_of
from jaxopt_lab.storage.folder import (
    RECORD,
    check_folder,
    digests,
    environment,
    folder_name,
    kind_of,
    open_folder,
    read_record,
    read_rows,
    read_verdicts,
    remove_folder,
    require_unchanged,
    without_options,
    write_lines,
    write_record,
    write_rows,
    write_verdicts,
)
from jaxopt_lab.storage.locks import HeldError, locked

__all__ = [
    "RECORD",
    "Claims",
    "HeldError",
    "archives",
    "check_folder",
    "config_from_json",
    "config_hash",
    "digests",
    "environment",
    "file_name",
    "files",
    "fingerprint",
    "folder_name",
    "from_json",
    "is_reusable",
    "kind_of",
    "load",
    "load_facts",
    "locked",
    "open_folder",
    "problem_fingerprint",
    "program_of",
    "read_record",
    "read_rows",
    "read_verdicts",
    "remove_folder",
    "replacing",
    "require_folders",
    "require_unchanged",
    "require_writable",
    "save",
    "to_json",
    "without_options",
    "write_bytes",
    "write_json",
    "write_lines",
    "write_record",
    "write_rows",
    "write_text",
    "write_verdicts",
]
