"""Secrets out of what is printed, logged or stored: nobody expects a password in a log."""

import re

# What stands between a scheme and the last @ before a path. A password with a bare / in it goes too: what follows the
# colon is then no port.
_USERINFO = re.compile(r"(?<=://)(?:[^\s/?#]*@|[^\s/?#@:]*:(?!\d+(?:[/?#\s]|$))\S*@)")


def redacted(text: str) -> str:
    """Return `text` with user name and password taken out of every URL in it."""
    return _USERINFO.sub("", text)
