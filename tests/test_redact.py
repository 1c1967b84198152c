import pytest

from mosaic_pipeline.redact import redacted

KEPT = [
    "http://host/path",
    "https://host:8080/a@b/c.npz",
    "http://host/x#c@d",
    "really?yes=no",
    "http://host?",
    "sqlite:////srv/a@b/mlflow.db",
    "write to a@b.org about http://host",
    "file:///home/a:b@c/x.npz",
]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:secret@host/path", "http://host/path"),
        ("http://user:se@cret@host/path", "http://host/path"),
        ("http://user:se@cret@host", "http://host"),
        ("http://token@host:5000", "http://host:5000"),
        ("http://:secret@host", "http://host"),
        ("https://user:se/cr?et#x@host/path", "https://host/path"),
        ("postgresql+psycopg2://user:se@cret@host:5432/db", "postgresql+psycopg2://host:5432/db"),
        ("HTTP://USER:SECRET@HOST/", "HTTP://HOST/"),
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
        ("http://host/x?to=a@b.org#c@d", "http://host/x?to=***#c@d"),
        ("https://h/x.npz?token=SECRET&X-Amz-Signature=abc", "https://h/x.npz?token=***&X-Amz-Signature=***"),
        ("https://h/x?a=1&amp;b=2", "https://h/x?a=***&amp;b=***"),
        ("https://h/x?SECRET", "https://h/x?***"),
        ("https://h/x?token=SE?C=RET/x:y'z(1)w", "https://h/x?token=***"),
        ("http://user:secret@host/x?token=***&k=", "http://host/x?token=***&k="),
        *((text, text) for text in KEPT),
    ],
)
def test_user_password_and_values_of_a_url_are_taken_out_and_nothing_else_is(url, shown):
    assert redacted(url) == shown
    assert redacted(f"MLflow store {url}: refused") == f"MLflow store {shown}: refused"


def test_every_url_of_a_text_is_redacted():
    text = "not http://a:b@one/x, but http://c:d@e@two:80/y (see http://three)"
    assert redacted(text) == "not http://one/x, but http://two:80/y (see http://three)"


@pytest.mark.parametrize(
    "text",
    [
        '{"url": "https://h/x?k=SECRET", "a": 1}',
        "{url: https://h/x?k=SECRET, a: 1}",
        "{url: https://h/x?k=SECRET}",
        "(see https://h/x?k=SECRET).",
        "OSError('https://h/x?k=SECRET')",
        '<a href="https://h/x?k=SECRET">x</a>',
        "<i>https://h/x?k=SECRET</i>",
        "[x](https://h/x?k=SECRET), y",
        "&quot;https://h/x?k=SECRET&quot; y",
        r'"a https://h/x?k=SECRET\nb"',
    ],
)
def test_what_stands_around_an_address_stays(text):
    assert redacted(text) == text.replace("SECRET", "***")
