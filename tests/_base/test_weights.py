"""Networks that ship with the package: what they are, and what a damaged one says."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skdiff._base import weights
from skdiff._base.weights import FOLDER, available_weights, load_weights, save_weights

REPOSITORY = Path(__file__).parents[2]


def test_a_network_of_the_store_does_what_its_card_says():
    arrays, card = load_weights("sine")
    x = np.linspace(-1, 1, 333)[:, None]
    hidden = np.tanh(x @ arrays["W1"] + arrays["b1"])
    error = np.abs(hidden @ arrays["W2"] + arrays["b2"] - np.sin(np.pi * x)).max()
    assert error < 1.1 * card["scores"]["largest_error"] + 1e-5 < 0.02


def test_the_script_trains_it_again(tmp_path):
    script = runpy.run_path(str(REPOSITORY / load_weights("sine").card["script"]))
    script["main"](tmp_path)
    again = weights._load(tmp_path, "sine")
    assert again.card["arrays"] == load_weights("sine").card["arrays"]
    assert again.card["scores"]["largest_error"] < 0.02


@pytest.mark.parametrize("name", available_weights())
def test_every_network_is_whole_small_and_has_a_script(name):
    card = load_weights(name).card
    assert (REPOSITORY / card["script"]).is_file()
    assert {"python", "numpy"} <= set(card["versions"])
    assert card["description"] and card["scores"]
    assert (FOLDER / f"{name}.npz").stat().st_size < 4 * 2**20


def test_files_are_read_once_and_by_the_first_call():
    assert load_weights("sine") is load_weights("sine")
    with pytest.raises(ValueError, match="read-only"):
        load_weights("sine").arrays["W1"][0] = 0
    with pytest.raises(TypeError):
        load_weights("sine").arrays["W1"] = 0
    code = (
        "import sys, skdiff._base.weights as w\n"
        "sys.addaudithook(lambda event, args: event == 'open' and '_weights' in "
        "str(args[0]) and sys.exit('read ' + str(args[0])))\n"
        "from skdiff import calibration, neural_network"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_the_same_arrays_give_the_same_file(tmp_path):
    card = dict.fromkeys(weights.TOLD, "x")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for folder in ("a", "b"):
        save_weights("net", {"W": np.eye(3)}, card, folder=tmp_path / folder)
    files = [(tmp_path / f / "net.npz").read_bytes() for f in ("a", "b")]
    assert files[0] == files[1]
    with pytest.raises(ValueError, match="A card tells description, script"):
        save_weights("net", {}, {"description": "x"}, folder=tmp_path)
    with pytest.raises(ValueError, match="hold Python objects"):
        save_weights("net", {"W": np.array([{}])}, card, folder=tmp_path)


@pytest.fixture
def store(tmp_path):
    for suffix in ("npz", "json"):
        shutil.copy(FOLDER / f"sine.{suffix}", tmp_path)
    return tmp_path


def test_an_unknown_name_lists_the_known_ones(store):
    with pytest.raises(
        ValueError, match="no weights named 'cosine'; skdiff ships sine"
    ):
        weights._load(store, "cosine")
    with pytest.raises(ValueError, match=r"no weights named .\.\./sine."):
        weights._load(store, "../sine")


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _edit(**changes):
    def edit(store):
        path = store / "sine.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def _pickled(store):
    import hashlib
    import io

    buffer = io.BytesIO()
    np.savez(buffer, W1=np.array([{"a": 1}], dtype=object))
    (store / "sine.npz").write_bytes(buffer.getvalue())
    _edit(sha256=hashlib.sha256(buffer.getvalue()).hexdigest())(store)


DAMAGES = {
    "one bit of the arrays": lambda store: _flip(store / "sine.npz"),
    "no arrays": lambda store: (store / "sine.npz").unlink(),
    "empty arrays": lambda store: (store / "sine.npz").write_bytes(b""),
    "a card cut short": lambda store: (store / "sine.json").write_text('{"name": '),
    "a card that is a list": lambda store: (store / "sine.json").write_text("[]"),
    "a card of another network": _edit(name="cosine"),
    "a card with more": _edit(more=1),
    "a card with other shapes": _edit(arrays={}),
    "a card that is no text": lambda store: (store / "sine.json").write_bytes(b"\xff"),
    "pickled arrays": _pickled,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_say_what_to_do(store, damage):
    DAMAGES[damage](store)
    with pytest.raises(
        ValueError, match=r"'sine' .*are damaged: .*Install skdiff again"
    ):
        weights._load(store, "sine")
