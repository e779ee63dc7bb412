"""The page of `musicbert serve`: a small server for one machine, and a page without a build step.

The only room that imports the server library (Starlette, Uvicorn) and Pebble. The server keeps nothing: the
page sends the file with each question, and all work is done on its bytes in worker processes (`work.py`)
with bounded size, time and number (`pool.py`). Gradio was not taken: the piano roll with sound and notes to
click is the product, and it brings 31 MB, telemetry and names of other hosts. Nothing is fetched from a
network, by the server or by the page.
"""

from musicbert.web.app import make_app, serve

__all__ = ["make_app", "serve"]
