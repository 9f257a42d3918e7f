"""Keys that live outside the database: what seals secrets and what signs instance identity documents."""

from __future__ import annotations

import base64
import os

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class Sealer:
    """Authenticated encryption under one key (AES-256-GCM); `purpose` keeps what is sealed for one use from another."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, purpose: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, purpose.encode())

    def unseal(self, sealed: bytes, purpose: str) -> bytes:
        """ValueError: not sealed by this key, for this purpose, or changed since."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], purpose.encode())
        except (InvalidTag, ValueError) as error:
            raise ValueError("not sealed by this key for this purpose") from error


class IdentityDocuments:
    """Signs and verifies instance identity documents (RSA-SHA256, base64), as `/signature` of the metadata gives them."""

    def __init__(self, private_key_pem: bytes) -> None:
        key = serialization.load_pem_private_key(private_key_pem, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("the identity-document key is no RSA key")
        self._key = key

    def sign(self, document: str) -> str:
        return base64.b64encode(self._key.sign(document.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()

    def verify(self, document: str, signature: str) -> bool:
        try:
            raw = base64.b64decode(signature)
            self._key.public_key().verify(raw, document.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True


def new_identity_document_key() -> bytes:
    """A fresh private key, PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
