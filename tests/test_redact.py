import pytest

from mosaic_pipeline.redact import redacted

KEPT = [
    "http://host/path",
    "https://host:8080/a@b/c.npz",
    "http://host/x?to=a@b.org#c@d",
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
        *((text, text) for text in KEPT),
    ],
)
def test_user_and_password_of_a_url_are_taken_out_and_nothing_else_is(url, shown):
    assert redacted(url) == shown
    assert redacted(f"MLflow store {url}: refused") == f"MLflow store {shown}: refused"


def test_every_url_of_a_text_is_redacted():
    text = "not http://a:b@one/x, but http://c:d@e@two:80/y (see http://three)"
    assert redacted(text) == "not http://one/x, but http://two:80/y (see http://three)"
