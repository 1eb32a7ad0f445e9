"""Secrets at rest: encrypted with a key that never leaves this machine."""

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from cryptography.fernet import Fernet, InvalidToken

from letta.errors import InvalidRequest

KEY_FILE = "secret.key"


class Vault:
    """Encrypts small JSON objects. The key is a Fernet key, or any passphrase, which is then stretched to one."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)

    def __repr__(self) -> str:
        return "Vault()"

    def lock(self, secrets: dict[str, str]) -> bytes:
        """The encrypted form."""
        return self._fernet.encrypt(orjson.dumps(secrets))

    def open(self, locked: bytes | None) -> dict[str, str]:
        """What `lock` was given; nothing for None.

        Raises:
            letta.errors.InvalidRequest: when another key locked it.
        """
        if locked is None:
            return {}
        try:
            secrets: dict[str, str] = orjson.loads(self._fernet.decrypt(locked))
        except InvalidToken:
            raise InvalidRequest(
                "stored secrets cannot be read: LETTA_ENCRYPTION_KEY (or the key file in the data folder) is not the "
                "one they were stored with"
            ) from None
        return secrets


def open_vault(data_dir: Path, passphrase: str | None) -> Vault:
    """The vault of a data folder; without a passphrase a key file is made there (mode 600).

    Raises:
        letta.errors.InvalidRequest: the folder cannot be made, read or written, or its key file holds no key.
    """
    if passphrase:
        return Vault(_stretch(passphrase))
    path = data_dir / KEY_FILE
    with usable_folder(data_dir):
        key = _kept(path)
    try:
        return Vault(key)
    except ValueError:
        raise InvalidRequest(
            f"{path} holds no key: restore the file from a backup, or set LETTA_ENCRYPTION_KEY to the key that was used"
        ) from None


def _kept(path: Path) -> bytes:
    """The key in a file, which is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes().strip()
    key = Fernet.generate_key()
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
    return key


@contextmanager
def usable_folder(folder: Path) -> Iterator[None]:
    """What goes wrong with the files in a data folder, as one sentence.

    Raises letta.errors.InvalidRequest.
    """
    try:
        yield
    except OSError as error:
        raise InvalidRequest(
            f"the data folder {folder} cannot be used: {error.strerror or error} ({error.filename or folder}). Give "
            "this user the right to write there, or choose another folder with --data-dir or LETTA_DIR."
        ) from error


def _stretch(passphrase: str) -> bytes:
    given = passphrase.encode()
    try:
        Fernet(given)
    except ValueError:
        return _derive(given)
    return given


def _derive(passphrase: bytes) -> bytes:
    # A fixed salt: every replica must derive the same key from the same setting.
    return base64.urlsafe_b64encode(hashlib.scrypt(passphrase, salt=b"open-letta", n=2**14, r=8, p=1, dklen=32))
