"""DVC parses dvc.lock anew after every stage: by ruamel.yaml, whose parser in C is a package of its own since 0.19."""

from ruamel.yaml import YAML


def test_the_lock_is_parsed_in_c():
    assert YAML(typ="safe").Parser.__module__.endswith("_ruamel_yaml")
