"""Answer over HTTP with a bundle: `mosaic serve <bundle> [--host 127.0.0.1] [--port 8000]`."""

import argparse
import sys
from pathlib import Path

from mosaic_pipeline.arguments import CommandParser
from mosaic_pipeline.command import run_command
from mosaic_pipeline.errors import PipelineError, install

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main() -> None:
    """Serve GET /health, GET /model and POST /predict until Ctrl-C. It asks nobody who they are."""
    parser = CommandParser("serve", __doc__)
    parser.add_argument("bundle", type=Path, help="a folder that `mosaic bundle` wrote")
    parser.add_argument("--host", default=LOOPBACK[0], help="address to listen at; default: this machine alone")
    parser.add_argument("--port", type=_port, default=8000, help="default: 8000; 0: any that is free")
    parser.add_argument("--max-mb", type=_megabytes, default=64.0, help="the largest request, in MB; default: 64")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps; default: auto")
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="a name it is called by too")
    arguments = parser.parse_args()

    # Heavy imports wait until the arguments are known to be good.
    try:
        from mosaic_pipeline.serving.server import open_socket, serve
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn"):
            raise
        raise PipelineError(f"serving needs {error.name}: {install('serve')}") from None
    opened = open_socket(arguments.host, arguments.port)

    from mosaic_pipeline.bundle import load_bundle
    from mosaic_pipeline.serving.app import LOCAL, build_app

    bundle = load_bundle(arguments.bundle, arguments.device)
    hosts = {name.lower() for name in (*LOCAL, arguments.host, *arguments.allow_host)}
    app = build_app(bundle, round(arguments.max_mb * 1e6), hosts)
    if arguments.host not in LOOPBACK:
        print(f"warning: {arguments.host} can be reached from elsewhere, and anybody may ask", file=sys.stderr)
    opened.listen()
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    manifest = bundle.manifest
    print(
        f"{manifest.variant}, seed {manifest.seed} ({manifest.provenance.md5['model']}) answers at "
        f"http://{host}:{opened.getsockname()[1]} (Ctrl-C ends it)",
        flush=True,
    )
    serve(app, opened)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port (0 to 65535)")
    return int(text)


def _megabytes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 4096:
        raise argparse.ArgumentTypeError(f"{text!r} is no size in MB (up to 4096)")
    return value


if __name__ == "__main__":
    run_command(main)
