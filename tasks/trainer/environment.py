"""What a trainer process knows of its surroundings: no secret that it has no use for, and no network but its own."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

_WITHHELD = re.compile(
    r"^(PREFECT_|AWS_|FSSPEC_)|(^|_)(TOKEN|(API_?)?KEY|SECRET|CREDENTIALS|PAT|PASS|CONNECTION_STRING)$|PASSWORD|PASSWD",
    re.IGNORECASE,
)
_URL_WITH_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@")

_TRACKERS_VARIABLES = {
    "wandb": re.compile(r"^WANDB_"),
    "mlflow": re.compile(r"^MLFLOW_"),
    "trackio": re.compile(r"^(TRACKIO_|HF_TOKEN$)"),
}
"""What a tracker must be told to find its server, secrets included."""

_CHILD_SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "PYTHONIOENCODING": "utf-8",
    # peft writes a set of layer names into the adapter's config: without this its order changes from run to run.
    "PYTHONHASHSEED": "0",
    # Deterministic matrix products on CUDA; must be set before torch is imported.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "FLASH_ATTENTION_DETERMINISTIC": "1",
}

_UNLESS_SAID = {
    # Idle threads sleep instead of spinning: with two runs on the same two cores each was 4 times as fast. A run
    # that has its cores to itself is about a fifth faster with ACTIVE.
    "OMP_WAIT_POLICY": "PASSIVE",
}


def child_environment(parent: Mapping[str, str], processes: int = 1, trackers: Sequence[str] = ()) -> dict[str, str]:
    """The parent's variables without Prefect's and without secrets, and with the Hugging Face libraries offline.

    Trackers get what they need to find their servers.
    """
    tracked = [_TRACKERS_VARIABLES[each] for each in trackers]
    kept = {
        name: value
        for name, value in parent.items()
        if any(known.search(name) for known in tracked)
        or not (_WITHHELD.search(name) or _URL_WITH_PASSWORD.search(value))
    }
    # The child imports this very package, and nothing that happens to lie in the working directory.
    root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(part for part in (root, kept.get("PYTHONPATH")) if part)
    # A device for each process: with more in sight than that, TRL refuses to start.
    devices = kept.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(processes)))).split(",")[:processes]
    own = {"PYTHONPATH": search_path, "PYTHONSAFEPATH": "1", "CUDA_VISIBLE_DEVICES": ",".join(devices)}
    return _UNLESS_SAID | kept | _CHILD_SETTINGS | own | (_trackio_settings(kept) if "trackio" in trackers else {})


def _trackio_settings(kept: Mapping[str, str]) -> dict[str, str]:
    """Its database lies in the Hugging Face cache, which is the child's own and removed; a Space needs the Hub."""
    cache = kept.get("HF_HOME", str(Path.home() / ".cache" / "huggingface"))
    folder = {"TRACKIO_DIR": kept.get("TRACKIO_DIR", f"{cache}/trackio")}
    return folder | ({"HF_HUB_OFFLINE": "0"} if kept.get("TRACKIO_SPACE_ID") else {})
