"""Stage `code`: pipeline/ and stages/ -> code/<stage>.txt, the modules that decide what each other stage makes."""

from mosaic_pipeline.arguments import read_arguments
from mosaic_pipeline.atomic import write_text
from mosaic_pipeline.code import list_code
from mosaic_pipeline.command import run_command
from mosaic_pipeline.layout import code_file

STAGES = (
    *("declare", "download", "cache", "download_external", "cache_external"),
    *("weights", "recognise", "recognise_external", "configure", "tune", "train"),
    *("evaluate", "analyse", "corrupt", "transfer", "report"),
    *(
        "seg_declare",
        "seg_index",
        "seg_cache",
        "seg_configure",
        "seg_weights",
        "seg_train",
        "seg_evaluate",
        "seg_analyse",
    ),
    "seg_report",
)


def main() -> None:
    """Write, for each stage, the digests of the modules that it imports."""
    read_arguments("code", __doc__)
    for stage in STAGES:
        listed = list_code(stage)
        write_text(code_file(stage), listed)
        print(f"{code_file(stage)}: {len(listed.splitlines())} files")


if __name__ == "__main__":
    run_command(main)
