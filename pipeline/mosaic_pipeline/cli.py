"""The console command `mosaic`: finds the command that is named, and imports it alone."""

import importlib
import signal
import sys

from mosaic_pipeline import __version__
from mosaic_pipeline.command import before_imports, run_command
from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.waiting import spin_briefly

# Names and what is said of each, here, so that the help imports nothing. Each is a module of `commands`.
IN_A_CHECKOUT = {
    "describe": "what a configuration costs: parameters, tokens, FLOPs",
    "profile": "lay a profile over params.yaml",
    "ui": "browse the MLflow runs",
    "bundle": "make a trained model usable elsewhere: one self-contained folder",
    "register": "put a bundle into MLflow's registry, for mlflow models serve",
}
OF_BUNDLES = {
    "predict": "class probabilities of images and volumes",
    "export": "the model as ONNX graphs, for other runtimes",
    "serve": "answer over HTTP, at this machine unless told otherwise",
}
OF_SCANS = {
    "check-scans": "what is wrong with a folder of scans and label maps",
    "segment": "segment a scan with a trained model",
}
OF_RESULTS = {
    "trace": "what a number, a file or a model was made from, and whether it is still that",
    "share": "one zip of an experiment: report, results, configuration, provenance",
}
COMMANDS = IN_A_CHECKOUT | OF_RESULTS | OF_BUNDLES | OF_SCANS
USAGE = "usage: mosaic <command> [...]; `mosaic --help` lists the commands, `mosaic <command> --help` says more of one"


def main() -> None:
    """Run the command that the first argument names; exits as a stage does (`run_command`)."""
    # Nothing is open yet, so that Ctrl-C may end the process as SIGTERM does, until `run_command` takes over.
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    before_imports()
    spin_briefly()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in COMMANDS:
        sys.argv = [f"mosaic {name}", *sys.argv[2:]]
        run_command(importlib.import_module(f"mosaic_pipeline.commands.{name.replace('-', '_')}").main)
    else:
        run_command(lambda: _without_a_command(name))


def _without_a_command(name: str) -> None:
    """Print the help or the version; raises PipelineError for anything else."""
    if name in ("-h", "--help"):
        print(_help())
    elif name == "--version":
        print(f"mosaic-pipeline {__version__}")
    else:
        said = f"{name!r} is no command ({few(COMMANDS, 20)})" if name else "which command?"
        raise PipelineError(f"{said}; {USAGE}")


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [USAGE]
    for title, commands in (
        ("In a checkout", IN_A_CHECKOUT),
        ("Trace and share", OF_RESULTS),
        ("With a bundle", OF_BUNDLES),
        ("Scans", OF_SCANS),
    ):
        lines += ["", f"{title}:", *(f"  {name:<{width}}{said}" for name, said in commands.items())]
    return "\n".join(lines)
