"""Secrets out of what is printed, logged or stored: nobody expects a password in a log."""

import re

HIDDEN = "***"
# What stands between a scheme and the last @ before a path. A password with a bare / in it goes too: what follows the
# colon is then no port.
_USERINFO = re.compile(r"(?<=://)(?:[^\s/?#]*@|[^\s/?#@:]*:(?!\d+(?:[/?#\s]|$))\S*@)")
# An address up to its query, and the query: not beyond what ends it in JSON, in HTML and in a sentence.
_QUERY = re.compile(r'(?<=://)(?P<place>[^\s"<>\\?#]*\?)(?P<query>(?:(?!&(?:quot|lt|gt);)[^\s"<>\\#])+)')
_AROUND = ".,;:!')]}`|"  # may stand behind an address, and is none of it at the end


def redacted(text: str) -> str:
    """Return `text` with user name and password taken out of every URL in it, and the values of its query hidden.

    An address may be signed in its query, for whoever has it.
    """
    return _QUERY.sub(_without_values, _USERINFO.sub("", text))


def _without_values(address: re.Match[str]) -> str:
    query = address["query"].rstrip(_AROUND)
    behind = address["query"][len(query) :]
    return address["place"] + "&".join(map(_hidden, query.split("&"))) + behind


def _hidden(part: str) -> str:
    key, sign, value = part.partition("=")
    if not sign:
        return HIDDEN if part else ""
    return f"{key}={HIDDEN if value else ''}"
