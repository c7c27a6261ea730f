"""Keys of an organisation, its people and the custodial accounts it keeps for patients, sealed on the gateway's disk.

In: a directory and a master key (a file of its own, or a passphrase). Out: key objects that do not print. Called by the gateway.
Never: sockets; key material in logs, errors or `repr`; a fresh master key where a sealed file already exists.
"""
