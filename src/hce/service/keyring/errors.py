"""What the keyring refuses, by name. No message holds key material, passphrases or identifiers of patients."""

from __future__ import annotations

from hce.foundation.types.errors import Corrupt, NotFound, Refused, TooLarge, Unavailable


class KeyringMissing(NotFound):
    """There is no keyring in this directory."""

    code = "keyring.missing"


class KeyringExists(Refused):
    """There is a keyring in this directory already; a new one is never put in its place."""

    code = "keyring.exists"


class KeyringInUse(Unavailable):
    """Another process has this keyring open."""

    code = "keyring.in_use"


class MasterKeyMissing(Refused):
    """The sealed file is there, its master key file is not, and no passphrase was given."""

    code = "keyring.master_key_missing"


class MasterKeyExposed(Refused):
    """The master key file can be read by others than its owner."""

    code = "keyring.master_key_exposed"


class WrongPassphrase(Refused):
    """This passphrase does not open the keyring."""

    code = "keyring.wrong_passphrase"


class WrongMasterKey(Refused):
    """The master key file is another keyring's."""

    code = "keyring.wrong_master_key"


class KeyringCorrupt(Corrupt):
    """The sealed file is not what was written. The master key is right: restore the file from a backup."""

    code = "keyring.corrupt"


class KeyNotFound(NotFound):
    """No such person, reader key or account in the keyring."""

    code = "keyring.not_found"


class AccountClaimed(Refused):
    """The patient has claimed this account: its keys are theirs alone now."""

    code = "keyring.account_claimed"


class KeyringFull(TooLarge):
    """More entries than the keyring was opened for."""

    code = "keyring.full"
