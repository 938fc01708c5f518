"""Passkeys (AUTH-14), with an authenticator made of a P-256 key: what a browser and its key would send."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from security.identity import webauthn
from security.identity.webauthn import Passkey, PasskeyRefusedError, RelyingParty

PARTY = RelyingParty(id="crm.example.test", name="Kontor", origin="https://crm.example.test")
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Authenticator:
    """Signs as a security key does; every part can be bent."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = os.urandom(32)
        self.count = 0

    def client_data(self, kind: str, challenge: bytes, origin: str) -> bytes:
        return json.dumps({"type": kind, "challenge": b64(challenge), "origin": origin}).encode()

    def data(self, flags: int, count: int, party: str, more: bytes = b"") -> bytes:
        return hashlib.sha256(party.encode()).digest() + bytes((flags,)) + count.to_bytes(4, "big") + more

    def register(
        self, options: str, *, origin: str = PARTY.origin, party: str = PARTY.id, verified: bool = True
    ) -> dict[str, Any]:
        asked = json.loads(options)
        numbers = self.key.public_key().public_numbers()
        cose = cbor2.dumps(
            {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        )
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + cose
        flags = PRESENT | ATTESTED | (VERIFIED if verified else 0)
        data = self.data(flags, self.count, party, attested)
        client = self.client_data("webauthn.create", unb64(asked["challenge"]), origin)
        return self.answer(
            clientDataJSON=client,
            attestationObject=cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data}),
        )

    def sign(
        self,
        options: str,
        *,
        origin: str = PARTY.origin,
        party: str = PARTY.id,
        verified: bool = True,
        count: int | None = None,
    ) -> dict[str, Any]:
        self.count = self.count + 1 if count is None else count
        data = self.data(PRESENT | (VERIFIED if verified else 0), self.count, party)
        client = self.client_data("webauthn.get", unb64(json.loads(options)["challenge"]), origin)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self.answer(clientDataJSON=client, authenticatorData=data, signature=signature)

    def answer(self, **parts: bytes) -> dict[str, Any]:
        response = {name: b64(value) for name, value in parts.items()}
        return {"id": b64(self.id), "rawId": b64(self.id), "type": "public-key", "response": response}


@pytest.fixture
def authenticator() -> Authenticator:
    return Authenticator()


@pytest.fixture
def passkey(authenticator: Authenticator) -> Passkey:
    ceremony = webauthn.begin_registration(PARTY, os.urandom(32), "lena", "Lena")
    return webauthn.finish_registration(PARTY, authenticator.register(ceremony.options), ceremony.challenge)


class TestRegistration:
    def test_the_options_ask_for_verification_and_a_discoverable_key(self) -> None:  # AUTH-14
        ceremony = webauthn.begin_registration(PARTY, b"handle", "lena", "Lena", [b"known"])
        asked = json.loads(ceremony.options)
        assert asked["authenticatorSelection"]["userVerification"] == "required"
        assert asked["authenticatorSelection"]["residentKey"] == "required"
        assert [unb64(one["id"]) for one in asked["excludeCredentials"]] == [b"known"]
        assert len(ceremony.challenge) == 32
        assert repr(ceremony.challenge) not in repr(ceremony)

    def test_a_key_is_enrolled(self, authenticator: Authenticator, passkey: Passkey) -> None:
        assert passkey.credential_id == authenticator.id
        assert passkey.sign_count == 0

    @pytest.mark.parametrize(
        "bend", [{"origin": "https://evil.example"}, {"party": "evil.example"}, {"verified": False}]
    )
    def test_another_origin_party_or_no_verification_is_refused(
        self, authenticator: Authenticator, bend: dict[str, Any]
    ) -> None:
        ceremony = webauthn.begin_registration(PARTY, b"handle", "lena", "Lena")
        with pytest.raises(PasskeyRefusedError):
            webauthn.finish_registration(
                PARTY, authenticator.register(ceremony.options, **bend), ceremony.challenge
            )

    @pytest.mark.parametrize("answer", ["", "{}", "not json", {}, {"id": "x", "response": 5}])
    def test_nonsense_is_refused(self, answer: str | dict[str, Any]) -> None:
        with pytest.raises(PasskeyRefusedError):
            webauthn.finish_registration(PARTY, answer, b"x" * 32)


class TestAuthentication:
    def test_the_right_key_signs_in_and_counts_up(
        self, authenticator: Authenticator, passkey: Passkey
    ) -> None:
        ceremony = webauthn.begin_authentication(PARTY, [passkey.credential_id])
        assert json.loads(ceremony.options)["userVerification"] == "required"
        use = webauthn.finish_authentication(
            PARTY, authenticator.sign(ceremony.options), ceremony.challenge, passkey
        )
        assert (use.sign_count, use.counter_regressed) == (1, False)

    @pytest.mark.parametrize(
        "stored,sent,regressed", [(0, 0, False), (5, 6, False), (5, 5, True), (5, 4, True), (5, 0, True)]
    )
    def test_a_counter_that_does_not_advance_is_told(  # AUTH-14
        self, authenticator: Authenticator, passkey: Passkey, stored: int, sent: int, regressed: bool
    ) -> None:
        known = Passkey(passkey.credential_id, passkey.public_key, stored)
        ceremony = webauthn.begin_authentication(PARTY)
        answer = authenticator.sign(ceremony.options, count=sent)
        use = webauthn.finish_authentication(PARTY, answer, ceremony.challenge, known)
        assert use.counter_regressed is regressed

    def test_a_replayed_answer_fails_at_the_challenge(
        self, authenticator: Authenticator, passkey: Passkey
    ) -> None:
        first, second = webauthn.begin_authentication(PARTY), webauthn.begin_authentication(PARTY)
        answer = authenticator.sign(first.options)
        with pytest.raises(PasskeyRefusedError):
            webauthn.finish_authentication(PARTY, answer, second.challenge, passkey)

    def test_another_key_origin_or_no_verification_is_refused(
        self, authenticator: Authenticator, passkey: Passkey
    ) -> None:
        ceremony = webauthn.begin_authentication(PARTY)
        impostor = Authenticator()
        impostor.id = authenticator.id
        answers = (
            impostor.sign(ceremony.options),
            authenticator.sign(ceremony.options, origin="https://evil.example"),
            authenticator.sign(ceremony.options, verified=False),
        )
        for answer in answers:
            with pytest.raises(PasskeyRefusedError):
                webauthn.finish_authentication(PARTY, answer, ceremony.challenge, passkey)

    def test_every_bent_bit_of_the_signature_is_noticed(
        self, authenticator: Authenticator, passkey: Passkey
    ) -> None:
        ceremony = webauthn.begin_authentication(PARTY)
        answer = authenticator.sign(ceremony.options)
        good = unb64(answer["response"]["signature"])
        for position in range(len(good)):
            bent = bytearray(good)
            bent[position] ^= 1
            answer["response"]["signature"] = b64(bytes(bent))
            with pytest.raises(PasskeyRefusedError):
                webauthn.finish_authentication(PARTY, answer, ceremony.challenge, passkey)
