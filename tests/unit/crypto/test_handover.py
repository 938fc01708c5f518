"""Handing an epoch over: only who knows the secret is answered, and only who asked reads the answer."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from security.crypto import handover
from security.crypto.errors import HandoverRefused
from security.crypto.keyring import EpochKeys

OLD, NEW = EpochKeys.generate(1), EpochKeys.generate(2)
SECRET = OLD.handover_secret()


def test_enc_9_the_keys_of_an_epoch_arrive_at_the_node_that_asked() -> None:
    asking = handover.Asking("b", 2, SECRET)
    assert asking.take(handover.answer(asking.request, SECRET, NEW)).material() == NEW.material()


@pytest.mark.parametrize(
    "change", [{"node": "c"}, {"epoch": 3}, {"proof": bytes(32)}, {"public": b"\4" + bytes(64)}]
)
def test_a_request_that_was_altered_or_made_without_the_secret_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(HandoverRefused):
        handover.answer(replace(handover.Asking("b", 2, SECRET).request, **change), SECRET, NEW)  # type: ignore[arg-type]
    with pytest.raises(HandoverRefused):
        handover.answer(handover.Asking("b", 2, NEW.handover_secret()).request, SECRET, NEW)


def test_another_epoch_than_the_one_asked_for_is_not_given() -> None:
    with pytest.raises(HandoverRefused, match="Epoch 1 was asked for"):
        handover.answer(handover.Asking("b", 1, SECRET).request, SECRET, NEW)


def test_an_answer_opens_for_its_own_request_alone_even_with_the_secret() -> None:
    first, second = handover.Asking("b", 2, SECRET), handover.Asking("b", 2, SECRET)
    answer = handover.answer(first.request, SECRET, NEW)
    with pytest.raises(HandoverRefused, match="doesn't open"):
        second.take(answer)


def test_an_answer_by_somebody_without_the_secret_does_not_open() -> None:
    asking = handover.Asking("b", 2, SECRET)
    foreign = NEW.handover_secret()
    forged = handover.Request(
        "b", 2, asking.request.public, handover._proof(foreign, "b", 2, asking.request.public)
    )
    with pytest.raises(HandoverRefused):
        asking.take(handover.answer(forged, foreign, NEW))


def test_a_flipped_bit_or_a_cut_anywhere_in_an_answer_is_noticed() -> None:
    asking = handover.Asking("b", 2, SECRET)
    answer = handover.answer(asking.request, SECRET, NEW)
    for place in range(0, len(answer), 7):
        altered = bytearray(answer)
        altered[place] ^= 1
        with pytest.raises(HandoverRefused):
            asking.take(bytes(altered))
    with pytest.raises(HandoverRefused):
        asking.take(answer[:-1])


def test_a_code_is_read_however_it_is_typed_and_no_two_are_alike() -> None:
    code = handover.new_code()
    assert handover.secret_of_code(f" {code.lower().replace('-', ' ')} ") == handover.secret_of_code(code)
    assert len({handover.new_code() for _ in range(1000)}) == 1000
    assert len(handover.secret_of_code(code)) == 20


def test_what_waits_is_neither_shown_nor_pickled() -> None:
    asking = handover.Asking("b", 2, SECRET)
    assert "private" not in repr(asking)
    with pytest.raises(TypeError):
        pickle.dumps(asking)
