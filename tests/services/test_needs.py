import pytest
from needs import needs

OUTCOMES = (pytest.skip.Exception, pytest.fail.Exception)


@pytest.mark.parametrize(("ci", "outcome"), [(None, pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_what_is_missing_skips_and_in_ci_fails_with_the_reason(monkeypatch, ci, outcome):
    monkeypatch.delenv("MOSAIC_CI", raising=False)
    if ci:
        monkeypatch.setenv("MOSAIC_CI", ci)
    needs("/usr/bin/thing", "no thing here")
    with pytest.raises(OUTCOMES, match="no thing here") as ended:  # one that is not caught here would skip this test
        needs(None, "no thing here")
    assert ended.type is outcome
