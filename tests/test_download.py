"""Downloads from a server that stalls, lies, crawls or speaks nonsense: one line within the patience that is set."""

import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from mosaic_pipeline.download import PATIENCE, Patience, download, is_url
from mosaic_pipeline.errors import PipelineError

# However busy the machine is, what does not stall on purpose has time enough.
CALM = Patience(connect=30, silence=30, window=30, delays=(0, 0, 0))
SILENT = replace(CALM, silence=0.2, stalls=2)
SLOW = replace(CALM, window=0.2, least=1000, stalls=2)
BODY = b"the file" * 100
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Server:
    """Answers the connections one after the other by `answers`, the last one for ever: functions of the socket."""

    def __init__(self):
        self.answers, self.connections, self.open = [], 0, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/file"
        self.over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                answer = self.answers[min(self.connections, len(self.answers) - 1)]
                self.connections += 1
                threading.Thread(target=self._answer, args=(connection, answer), daemon=True).start()

    def _answer(self, connection, answer):
        with connection, suppress(OSError):
            connection.recv(65536)
            answer(connection)

    def close(self):
        self.over.set()
        self.listener.close()

    # What may happen on a connection.

    def silent(self, connection):
        self.over.wait(20)

    def crawling(self, connection, start=b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"):
        """A byte at a time, faster than any timeout of the socket."""
        connection.sendall(start)
        while not self.over.wait(0.02):
            connection.sendall(b"x")

    def crawling_in_the_headers(self, connection):
        self.crawling(connection, b"HTTP/1.1 200 OK\r\nX-Long: ")

    def silent_after_half(self, connection):
        connection.sendall(OK[: len(OK) // 2])
        self.over.wait(20)


def says(content: bytes):
    return lambda connection: connection.sendall(content)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.close()


def fetched(server, tmp_path, url=None, patience=CALM):
    target = tmp_path / "file"
    return download(
        url or server.url, target, target.read_bytes, name=url or server.url, setting="x.y", patience=patience
    )


def refused(server, tmp_path, url=None, patience=CALM) -> str:
    with pytest.raises(PipelineError) as error:
        fetched(server, tmp_path, url, patience)
    message = str(error.value)
    assert message.isprintable()  # one line
    return message


STALLS = {
    "silent": (SILENT, "the server does not answer in time"),
    "silent_after_half": (SILENT, "the server does not answer in time"),
    "crawling": (SLOW, "bytes arrived in 0.2 s"),
    "crawling_in_the_headers": (SLOW, "bytes arrived in 0.2 s"),
}


@pytest.mark.parametrize("behaviour", STALLS)
def test_a_transfer_that_stalls_is_interrupted_and_tried_again(server, tmp_path, capsys, behaviour):
    patience, said = STALLS[behaviour]
    server.answers = [getattr(server, behaviour), says(OK)]
    # As often as it takes, on a machine so busy that the second try stalls too.
    assert fetched(server, tmp_path, patience=replace(patience, stalls=100, delays=(0,) * 100)) == BODY
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith(f"retrying in 0 s: {server.url}: ")
    assert said in first


@pytest.mark.parametrize("behaviour", STALLS)
def test_a_transfer_that_always_stalls_is_given_up_after_as_many_tries_as_stalls_are_allowed(
    server, tmp_path, behaviour
):
    patience, said = STALLS[behaviour]
    server.answers = [getattr(server, behaviour)]
    message = refused(server, tmp_path, patience=patience)
    assert message.startswith(f"{server.url}: ")
    assert said in message
    assert message.endswith("; check the address and the network, or try again later")
    assert server.connections <= patience.stalls < 1 + len(patience.delays)


def test_nobody_waits_longer_than_a_few_minutes_for_a_server_that_brings_nothing():
    waits = sorted(PATIENCE.delays)[: PATIENCE.stalls - 1]
    assert PATIENCE.stalls * max(PATIENCE.connect, PATIENCE.silence) + sum(waits) <= 90
    assert PATIENCE.stalls * PATIENCE.window + sum(waits) <= 200
    assert PATIENCE.least / PATIENCE.window == 1000  # bytes a second


def test_a_slow_transfer_that_brings_enough_is_not_interrupted(server, tmp_path):
    def slowly(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(20):  # 50 kB every 30 ms: more than one window
            connection.sendall(b"x" * 50_000)
            time.sleep(0.03)

    server.answers = [slowly]
    assert fetched(server, tmp_path, patience=replace(SLOW, window=0.5)) == b"x" * 1_000_000
    assert server.connections == 1


HEAD = b"HTTP/1.1 200 OK\r\n"
NONSENSE = {
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "the connection failed"),
    "a length that is no number": (HEAD + b"Content-Length: many\r\n\r\nx", "answer cannot be read"),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", ""),
    "a length beyond the body": (HEAD + b"Content-Length: 100\r\n\r\nx", "the connection failed"),
    "a chunk that is none": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx", "the connection failed"),
    "gzip that is none": (
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\ngarbage",
        "answer cannot be read",
    ),
    "a redirect to a file": (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "No connection adapters"),
    "a redirect to nowhere": (b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n", ""),
    "a redirect to a bad port": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:x/\r\n\r\n", ""),
    "a redirect for ever": (b"HTTP/1.1 302 Found\r\nLocation: /file\r\nConnection: close\r\n\r\n", "redirects"),
    "a header without end": (HEAD + b"X: " + b"x" * 100_000, "the connection failed"),
    "nothing": (b"", "the connection failed"),
}


@pytest.mark.parametrize(("answer", "said"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_from_a_server_is_one_line_with_a_way_out(server, tmp_path, answer, said):
    server.answers = [says(answer)]
    message = refused(server, tmp_path)
    assert message.startswith(f"{server.url}: ")
    assert said in message
    assert "; check " in message


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http://[::1",
        "http://127.0.0.1:99999999/x",
        "http://127.0.0.1:port/x",
        "http://:80/x",
        "http://\u00f6..x/",
        "http://127.0.0.1\\x",
        f"http://{'a' * 70}.invalid/x",
        "HTTP://[fe80::1%25]:x/",
    ],
)
def test_an_address_that_is_none_is_one_line_with_a_way_out(server, tmp_path, url):
    message = refused(server, tmp_path, url)
    assert message.startswith(f"{url}: ")
    assert "; check " in message


@pytest.mark.parametrize("userinfo", ["ada:secret", "ada:se@secret", "secret", "ada:secret:secret"])
def test_neither_user_nor_password_of_an_address_is_printed(server, tmp_path, capsys, userinfo):
    address = server.url.removeprefix("http://")
    for url in (f"http://{userinfo}@{address}", f"http://{userinfo}@[::1", f"http://{userinfo}@127.0.0.1:port/x"):
        server.answers = [says(b"HTTP/1.1 503 Busy\r\n\r\n")]
        printed = refused(server, tmp_path, url) + "".join(capsys.readouterr())
        assert "secret" not in printed
        assert "ada" not in printed


def test_a_full_disk_is_an_error_of_the_system(server, tmp_path):
    server.answers = [says(OK)]
    with pytest.raises(OSError, match="No space left"):
        download(server.url, "/dev/full", bool, name="file", setting="x.y", patience=CALM)


def test_an_address_is_told_from_a_path_whatever_its_case():
    assert [is_url(text) for text in ("http://x", "HTTPS://x", "https", "file://x", "/http://x")] == [
        True,
        True,
        False,
        False,
        False,
    ]
