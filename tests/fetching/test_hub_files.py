"""The Hub: pinned revisions, only the files needed, and one message for everything that it refuses."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from huggingface_hub import constants
from local_server import COMMIT, Fault, LocalServer, Repository

from viaduct import hub as hub_module
from viaduct.errors import DataError, UsageError
from viaduct.fetching.hub_files import RECORD, HubFiles, fetch_files, fetch_model, loaded_files, require_commit
from viaduct.fetching.places import fetch_pieces, places
from viaduct.runs.encoder import hub_options
from viaduct.tasks import anli, bucc, mnli, pawsx, tatoeba, xnli
from viaduct.tasks.card import Hub, read

PINNED = next(source.hub for source in xnli.CARD.sources if source.hub is not None)


def parquet(**columns: list[object]) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns or {"premise": ["a"], "hypothesis": ["b"], "label": [1]}), out)
    return out.getvalue()


def xnli_files(*names: str) -> list[HubFiles]:
    return [HubFiles("facebook/xnli", str(PINNED.revision), name) for name in names]


@pytest.fixture
def xnli_hub(hub: LocalServer) -> LocalServer:
    names = [f"{language}/{split}-00000-of-00001.parquet" for language in ("de", "sw") for split in ("test", "train")]
    hub.datasets["facebook/xnli"] = Repository(dict.fromkeys(names, parquet()), str(PINNED.revision))
    return hub


def test_what_is_fetched_is_what_the_card_reads(xnli_hub: LocalServer, tmp_path: Path) -> None:
    published, hub_place = places(xnli.CARD, "test", "sw")
    assert hub_place == tuple(xnli_files("sw/test-*.parquet")) and len(published) == 1
    assert fetch_pieces(hub_place, tmp_path, (), lambda _done, _total: None) == {}
    folder = tmp_path / "hub/facebook/xnli"
    assert [path.parent.name for path in folder.rglob("*.parquet")] == ["sw"]
    assert (folder / RECORD).read_text().strip() == PINNED.revision
    assert read(xnli.CARD, tmp_path, "sw", "test").rows[0].label == "neutral"
    asked = len(xnli_hub.asked)
    fetch_pieces(hub_place, tmp_path, (), lambda _done, _total: None)
    assert len(xnli_hub.asked) == asked


def test_a_folder_of_the_users_own_is_used_but_never_added_to(xnli_hub: LocalServer, tmp_path: Path) -> None:
    own = tmp_path / "hub/facebook/xnli/de"
    own.mkdir(parents=True)
    (own / "test-00000-of-00001.parquet").write_bytes(b"")
    fetch_files("facebook/xnli", xnli_files("de/test-*.parquet"), tmp_path)
    with pytest.raises(DataError, match="files without a record of their revision"):
        fetch_files("facebook/xnli", xnli_files("sw/test-*.parquet"), tmp_path)
    assert xnli_hub.asked == []


def test_a_cut_connection_is_no_half_file(xnli_hub: LocalServer, tmp_path: Path) -> None:
    repository = xnli_hub.datasets["facebook/xnli"]
    name = "de/test-00000-of-00001.parquet"
    repository.files[name] = whole = parquet(label=list(range(300_000)))
    path = f"/datasets/facebook/xnli/resolve/{PINNED.revision}/{name}"
    xnli_hub.faults[path] = [Fault(), Fault(cut_after=len(whole) // 2)]  # the first request asks only for the length
    fetch_files("facebook/xnli", xnli_files("de/test-*.parquet"), tmp_path)
    assert (tmp_path / "hub/facebook/xnli" / name).read_bytes() == whole
    assert len(xnli_hub.requests(name)) == 2


def test_files_that_a_revision_has_not_got_are_named(xnli_hub: LocalServer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"facebook/xnli has no th/test-\*\.parquet at revision {PINNED.revision}"):
        fetch_files("facebook/xnli", xnli_files("th/test-*.parquet"), tmp_path)


def test_a_data_set_whose_columns_changed_is_told(xnli_hub: LocalServer, tmp_path: Path) -> None:
    repository = xnli_hub.datasets["facebook/xnli"]
    repository.files["sw/test-00000-of-00001.parquet"] = parquet(text=["a"], gold=[1])
    fetch_files("facebook/xnli", xnli_files("sw/test-*.parquet"), tmp_path)
    with pytest.raises(DataError, match="premise"):
        read(xnli.CARD, tmp_path, "sw", "test")


def test_revisions_are_commits_and_are_never_mixed(xnli_hub: LocalServer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'main' of x/y is not a commit"):
        require_commit("x/y", "main")
    fetch_files("facebook/xnli", xnli_files("de/test-*.parquet"), tmp_path)
    other = HubFiles("facebook/xnli", COMMIT, "sw/test-*.parquet")
    with pytest.raises(DataError, match=f"holds files of revision {PINNED.revision}, not {COMMIT}"):
        fetch_files("facebook/xnli", [other], tmp_path)


def test_cards_without_a_pinned_hub_data_set_have_no_place_there() -> None:
    assert all(not isinstance(piece, HubFiles) for place in places(tatoeba.CARD, "test", "de") for piece in place)
    assert len(places(bucc.CARD, "test", "de")) == 1 and places(mnli.CARD, "test", "en") == ()
    hubs = [source.hub for card in (mnli.CARD, xnli.CARD, pawsx.CARD) for source in card.sources if source.hub]
    assert len(hubs) == 3
    assert all(isinstance(hub, Hub) and hub.revision is not None and len(hub.revision) == 40 for hub in hubs)
    assert places(anli.PLUS, "train", "en") == ()


MODEL = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model-00001-of-00002.safetensors": b"1",
    "model-00002-of-00002.safetensors": b"2",
    "model.safetensors.index.json": b"{}",
    "pytorch_model.bin": b"not loaded",
    "1_Pooling/config.json": b"{}",
    "onnx/model.onnx": b"not loaded",
    "onnx/config.json": b"not loaded",
    "README.md": b"not loaded",
}


def test_a_model_arrives_in_shards_of_safetensors_without_what_is_not_loaded(
    hub: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.models["some/model"] = Repository(MODEL)
    folder = fetch_model("some/model", COMMIT)
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {name for name, content in MODEL.items() if content != b"not loaded"}
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch_model("some/model", COMMIT) == folder


def test_weights_of_torch_are_fetched_where_there_are_no_others() -> None:
    assert loaded_files(["config.json", "pytorch_model.bin", "training_args.bin", "tf_model.h5"]) == [
        "config.json",
        "pytorch_model.bin",
    ]


def test_a_name_is_resolved_to_its_commit(hub: LocalServer) -> None:
    hub.models["some/model"] = Repository(MODEL)
    assert hub_module.commit_of("some/model") == hub_module.commit_of("some/model", "main") == COMMIT
    with pytest.raises(UsageError, match="the model 'some/model' has no revision v9"):
        hub_module.commit_of("some/model", "v9")


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ("gated", "'some/model' is gated: .*\n.*accept them at .*/some/model, then log in with `hf auth login`"),
        ("hidden", "has no model 'some/model', or it is private .*\n.*set HF_TOKEN"),
    ],
)
def test_gated_and_private_models_say_what_the_hub_wants(hub: LocalServer, refused: str, message: str) -> None:
    hub.models["some/model"] = Repository(MODEL, refused=refused)
    for ask in (
        lambda: hub_module.commit_of("some/model"),
        lambda: fetch_model("some/model", COMMIT),
        lambda: hub_options("some/model", COMMIT),
    ):
        with pytest.raises(UsageError, match=message):
            ask()


def test_without_a_network_there_is_one_message_with_the_way_out(
    hub: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"does not give the dataset 'facebook/xnli' at .* cannot be reached"):
        fetch_files("facebook/xnli", xnli_files("de/test-*.parquet"), tmp_path)
    with pytest.raises(UsageError, match="does not give the model 'some/model'"):
        hub_module.commit_of("some/model")


def test_offline_variables_are_honoured(hub: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"'some/model' at .* HF_HUB_OFFLINE forbids"):
        fetch_model("some/model", COMMIT)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE forbids"):
        fetch_files("facebook/xnli", xnli_files("de/test-*.parquet"), tmp_path)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (socket.gaierror(-2, "Name or service not known"), "https://huggingface.co cannot be reached (Name or"),
        (ConnectionRefusedError(111, "Connection refused"), "https://huggingface.co cannot be reached (Connection ref"),
        (TimeoutError("slow"), None),
        (None, None),
    ],
)
def test_a_missing_network_is_known_at_once_and_a_slow_one_is_not_taken_for_it(
    fault: OSError | None, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(place: tuple[str, int], timeout: float) -> socket.socket:
        assert place == ("huggingface.co", 443) and timeout <= 2
        if fault is not None:
            raise fault
        return socket.socket()

    monkeypatch.setattr(constants, "ENDPOINT", "https://huggingface.co")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(socket, "create_connection", connect)
    found = hub_module.unreachable()
    assert found is None if problem is None else found is not None and found.startswith(problem)
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://proxy"})
    assert hub_module.unreachable() is None, "names are the proxy's to find"
