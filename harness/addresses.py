"""How an address is shown: without its password."""


def shown(address: str) -> str:
    """An address without what stands before its last @, which may be a password.

    The last one: a / or an @ in a password has to be escaped, and whoever forgot it has not made the password public.
    """
    scheme, separator, rest = address.rpartition("://") if address.count("://") == 1 else ("", "", address)
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
