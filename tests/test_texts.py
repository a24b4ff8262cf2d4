"""Texts become MiniLM's own word pieces, cut where it is asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from data_recipes import texts
from mmal_cli.core import minilm

PIECES = texts.tokenizer(minilm.find(), 32)


def test_a_title_is_its_word_pieces_between_cls_and_sep():
    ids, cut = texts.encode(PIECES, "Grandma's Apple Pie")
    words = Tokenizer.from_file(str(minilm.find() / "tokenizer.json"))
    assert [words.id_to_token(k) for k in ids] == ["[CLS]", "grandma", "'", "s", "apple", "pie", "[SEP]"]
    assert (ids.dtype, cut) == (np.int32, False)


@pytest.mark.parametrize("empty", ["", "  \n", "\x00"])
def test_nothing_is_cls_and_sep(empty):
    assert texts.encode(PIECES, empty)[0].tolist() == [101, 102]


def test_the_cut_is_ours_not_the_files():
    own = Tokenizer.from_file(str(minilm.find() / "tokenizer.json"))
    assert own.truncation["max_length"] == 128, "the file cuts at 128 and pads; neither may be seen"
    long = texts.tokenizer(minilm.find(), 200)
    ids, cut = texts.encode(long, "pie " * 150)
    assert (len(ids), cut) == (152, False)
    ids, cut = texts.encode(long, "pie " * 199)
    assert (len(ids), cut, ids[0], ids[-1]) == (200, True, 101, 102)
    assert len(texts.encode(long, "pie")[0]) == 3


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["pie", "salt, ", " ", "crème", "x" * 150, "n\u0303", "漢字", "[SEP]", "un-be-lievable"]), max_size=400
    )
)
def test_looking_at_the_beginning_alone_changes_nothing(words):
    said = " ".join(words)
    ids, cut = texts.encode(PIECES, said)
    whole = PIECES.encode(said)
    assert ids.tolist() == whole.ids
    assert cut == bool(whole.overflowing)


def test_padding_is_zero_and_masked():
    array = texts.padded([np.array([101, 7, 102], np.int32), np.array([101, 102], np.int32)], texts.length(3))
    assert (array.shape, array.dtype) == ((2, 2, 8), np.int32)
    assert array[:, 0, :4].tolist() == [[101, 7, 102, 0], [101, 102, 0, 0]]
    assert array[:, 1, :4].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
    assert [texts.length(n) for n in (2, 8, 9, 250)] == [8, 8, 16, 256]
