"""Why a value transaction cannot be in a block. Nothing here is a failed transaction: plain transfers succeed or are not included."""

from __future__ import annotations

from hce.foundation.types.errors import Malformed, Refused


class ValueMalformed(Malformed):
    """Bytes that are not one signed Ethereum transaction in its one spelling."""

    code = "value.malformed"


class TypeNotSupported(Refused):
    """A transaction type that this rules version does not execute (3 carries blobs, 4 delegates code)."""

    code = "value.type_unsupported"


class Unprotected(Refused):
    """A type-0 transaction signed without a chain id (before EIP-155): it could be replayed on any chain."""

    code = "value.unprotected"


class WrongEthChain(Refused):
    """Signed for another EIP-155 chain id."""

    code = "value.wrong_chain"


class CreatesContract(Refused):
    """No `to`: contracts come with a later rules version."""

    code = "value.contract_creation"


class CarriesData(Refused):
    """Call data for an account that has no code in this rules version."""

    code = "value.data_not_empty"


class ReservedAddress(Refused):
    """Precompiles and the fee pool cannot be paid by a transfer."""

    code = "value.reserved_address"


class GasTooLow(Refused):
    """The gas limit does not cover the intrinsic gas."""

    code = "value.gas_too_low"


class FeeTooLow(Refused):
    """`max_fee_per_gas` lies below the base fee of the block, or below the tip."""

    code = "value.fee_too_low"


class NonceWrong(Refused):
    """Not the next nonce of the sender."""

    code = "value.nonce"


class CannotPay(Refused):
    """The balance does not cover the value and the greatest possible fee."""

    code = "value.cannot_pay"
