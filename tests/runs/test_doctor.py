from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from viaduct import api, cli
from viaduct.runs import doctor
from viaduct.runs.doctor import Finding, Tried

DEVICES = [{"name": "A", "memory_bytes": 80 * 2**30}, {"name": "B", "memory_bytes": 16 * 2**30}]
CPU = {"devices": [], "bf16": False, "cpu_bf16": False, "cuda": None, "threads": 2}
SEEN = """
import sys
from viaduct.cli import main
try:
    main()
finally:
    print("LOADED", "torch" in sys.modules or "transformers" in sys.modules, file=sys.stderr)
"""


def answer(monkeypatch: pytest.MonkeyPatch, **answers: Tried) -> None:
    """Fakes the answers of the three processes; by default those of a healthy machine without a GPU."""
    said = {
        doctor.TORCH: answers.get("torch", Tried(True, json.dumps(CPU))),
        doctor.TRANSFORMERS: answers.get("transformers", Tried(True, "")),
        doctor.TORCHVISION: answers.get("torchvision", Tried(True, "")),
    }
    monkeypatch.setattr(doctor, "_try", said.__getitem__)


def found(store: Path, **options: Any) -> dict[str, Finding]:
    return {finding.subject: finding for finding in api.doctor(store=store, **options)}


def examined(site: Path, store: Path) -> subprocess.CompletedProcess[str]:
    """Runs the command with this folder's packages first on the path, among them a torchvision that fails to import."""
    (site / "torchvision").mkdir(parents=True)
    (site / "torchvision" / "__init__.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    command = [sys.executable, "-c", SEEN, "doctor", "--store", str(store)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == "LOADED False\n" and not store.exists()
    assert "broken  torchvision: is installed and cannot be imported (RuntimeError: operator torchvision" in done.stdout
    assert "even XLM-RoBERTa\n        how to fix: pip uninstall torchvision" in done.stdout
    assert "broken  transformers: cannot import XLM-RoBERTa: " in done.stdout
    assert f"torch {importlib.metadata.version('torch')}" in done.stdout
    return done


def test_a_broken_torchvision_is_named_with_the_fix_and_status_1(tmp_path: Path) -> None:
    """With stand-ins for torch and transformers, since the real ones take seconds to import."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "transformers.py").write_text("import torchvision")
    (tmp_path / "site" / "torch.py").write_text("raise ImportError('libtorch is missing')")
    done = examined(tmp_path / "site", tmp_path / "store")
    assert "broken  torch: cannot be imported: ImportError: libtorch is missing" in done.stdout


@pytest.mark.slow
def test_a_broken_torchvision_does_break_transformers(tmp_path: Path) -> None:
    done = examined(tmp_path / "site", tmp_path / "store")
    assert "ModuleNotFoundError: Could not import module 'XLMRobertaModel'" in done.stdout
    assert "torch by default uses" in done.stdout


def test_a_machine_without_faults_has_status_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch)
    done = CliRunner().invoke(cli.app, ["doctor", "--store", str(tmp_path)])
    assert done.exit_code == 0
    assert "torchvision: not installed; nothing here needs it" in done.output
    assert f"{tmp_path}/cache can be written" in done.output and list(tmp_path.iterdir()) == []
    assert "Hub: not tested" in done.output


def test_devices_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = {"devices": DEVICES, "bf16": True, "cpu_bf16": True, "cuda": "12.8", "threads": 8}
    answer(monkeypatch, torch=Tried(True, json.dumps(gpus)), torchvision=Tried(True, "0.28.0"))
    all_well = found(tmp_path)
    assert all_well["device 1"].text == "B, 16 GiB, with bfloat16" and "8 threads" in all_well["cores"].text
    assert all_well["torchvision"].text == "0.28.0; nothing here needs it"
    answer(monkeypatch, torch=Tried(True, json.dumps({**gpus, "devices": []})))
    assert found(tmp_path)["device"].state == "note"
    answer(monkeypatch, torch=Tried(False, "ImportError: libcuda"), transformers=Tried(False, "ImportError: libcuda"))
    broken = found(tmp_path)
    assert broken["torch"].state == broken["transformers"].state == "broken" and "libcuda" in broken["torch"].text
    assert "constraints.txt" in (broken["transformers"].fix or "")


def test_what_a_process_says_last_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    said = doctor._try("print(1)"), doctor._try("raise ValueError('first\\nlast')"), doctor._try("raise SystemExit(3)")
    assert said == (Tried(True, "1"), Tried(False, "last"), Tried(False, "ended with status 3"))
    monkeypatch.setattr(doctor, "PATIENCE_SECONDS", 0.2)
    assert doctor._try("import time; time.sleep(9)") == Tried(False, "no answer after 0 s")


def test_a_full_disk_a_missing_package_and_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch)
    monkeypatch.setattr(doctor, "free_bytes", lambda path: 10**9)
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package"))
    (tmp_path / "file").write_text("")
    broken = found(tmp_path / "file" / "store")
    assert broken["disk"].state == broken["versions"].state == broken["cache"].state == "broken"
    assert "1.0 GB free" in broken["disk"].text and "not installed: no-such-package" in broken["versions"].text
    assert "Not a directory" in broken["cache"].text and "--store" in (broken["cache"].fix or "")


def test_the_hub_is_asked_only_when_online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unreachable(request: urllib.request.Request, timeout: float) -> None:
        asked.append(request.full_url)
        raise urllib.error.URLError("no route to host")

    answer(monkeypatch)
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    assert found(tmp_path)["Hugging Face Hub"].state == "ok" and asked == []
    finding = found(tmp_path, online=True)["Hugging Face Hub"]
    assert finding.state == "broken" and "no route to host" in finding.text and len(asked) == 1


def test_a_machine_without_a_gpu_is_told_its_allocator_and_that_there_is_a_faster_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer(monkeypatch)
    assert found(tmp_path)["memory"].text == (
        "allocated by the C library; trainings on CPUs are faster with jemalloc (docs/scaling.md)"
    )
    monkeypatch.setattr(doctor, "ALLOCATORS", {"other": "malloc"})
    assert found(tmp_path)["memory"].text == "allocated by other"
    monkeypatch.undo()
    answer(monkeypatch, torch=Tried(True, json.dumps({**CPU, "devices": DEVICES, "cuda": "13.0"})))
    assert found(tmp_path)["memory"].text == "allocated by the C library"
