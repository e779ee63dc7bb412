"""`musicbert serve`: the page, for this machine."""

import argparse

DESCRIPTION = "Start the page: drop a MIDI file, see how it is heard and why, listen, remix."
EPILOG = """examples:
  musicbert serve
  musicbert serve --port 8080 --no-browser
  musicbert serve --index index

The page works without a network. It is for this machine alone (127.0.0.1): files are sent to this program
and to nothing else, and are not kept. --index is a folder of `musicbert index`; without it the page shows
no similar pieces. Ctrl-C ends it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert serve`."""
    add = parser.add_argument
    add("--port", type=int, default=8000, help="port (%(default)s); 0: any free one")
    add("--host", default="127.0.0.1", help="address; another than 127.0.0.1 opens the page to others")
    add("--workers", type=int, default=2, help="questions answered at the same time (%(default)s)")
    add("--seconds", type=float, default=120.0, help="longest time of an answer (%(default)s)")
    add("--index", metavar="FOLDER", help="folder that `musicbert index` wrote, for similar pieces")
    add("--no-browser", action="store_true", help="do not open a browser")


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C; return the exit status."""
    import os
    import socket
    import threading
    import webbrowser

    from musicbert.errors import ConfigError
    from musicbert.web import serve

    if options.workers < 1 or options.seconds <= 0 or not 0 <= options.port < 65536:
        raise ConfigError("bad-option", "--workers is at least 1, --seconds above 0, --port 0-65535")
    if options.index:
        from musicbert.similarity import open_index

        open_index(options.index)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family) as listener:
        if os.name == "posix":  # a port of a server that has just ended is free
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((options.host, options.port))
        except OSError as error:
            raise ConfigError(
                "port-taken",
                f"{options.host}:{options.port} cannot be used: {error.strerror}",
                hint="give --port",
            ) from error
        listener.listen(128)  # from here on a browser waits until the server is ready
        shown = f"[{options.host}]" if ":" in options.host else options.host
        address = f"http://{shown}:{listener.getsockname()[1]}/"
        print(f"The page is at {address} (Ctrl-C ends it)", flush=True)
        if not options.no_browser:
            print("It opens in a browser", flush=True)
            threading.Timer(1.0, webbrowser.open, [address]).start()
        serve(
            listener,
            options.host,
            workers=options.workers,
            seconds=options.seconds,
            index=options.index,
        )
    return 0
