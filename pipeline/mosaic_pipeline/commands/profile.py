"""Lay profiles/<name>.yaml over params.yaml: `mosaic profile paper`; without a name, list the profiles."""

import difflib

from mosaic_pipeline.arguments import CommandParser
from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.command import run_command
from mosaic_pipeline.params import PARAMS_FILE, load_params
from mosaic_pipeline.profile import overlay, profile_file, profile_names, read_profile


def main() -> None:
    """Write the profile's values into params.yaml, comments kept, and print what changed."""
    parser = CommandParser("profile", __doc__)
    parser.add_argument("name", nargs="?", help="a file of profiles/, without .yaml")
    name = parser.parse_args().name
    if name is None:
        for known in profile_names():
            first_line = read_profile(known).partition("\n")[0].lstrip("# ")
            print(f"{known}: {first_line}")
        return

    load_params()
    before = PARAMS_FILE.read_text(encoding="utf-8")
    file = profile_file(name)
    after = overlay(before, read_profile(name), str(file))
    if after == before:
        print(f"{PARAMS_FILE} has the values of {file} already")
        return
    write_text(PARAMS_FILE, after)
    was, now = before.splitlines(keepends=True), after.splitlines(keepends=True)
    print("".join(difflib.unified_diff(was, now, f"{PARAMS_FILE} (before)", str(PARAMS_FILE))), end="")


if __name__ == "__main__":
    run_command(main)
