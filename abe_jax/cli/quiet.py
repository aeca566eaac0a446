"""Keeps libraries from logging what our one line says already."""

import logging
import sys
import threading
import traceback
from types import TracebackType


def libraries() -> None:
    """What matters in its log and its threads also comes as an exception, which makes one line."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    shown = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        frames = traceback.extract_tb(failed.exc_traceback)
        quiet = ("orbax", "tensorboardX")
        if not any(name in frame.filename for frame in frames for name in quiet):
            shown(failed)

    threading.excepthook = hook
    usual = sys.excepthook

    def late(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
        # TensorStore's threads, done with a write that was given up, find nobody to tell.
        inside = all("asyncio" in frame.filename for frame in traceback.extract_tb(at))
        if not (inside and str(error) == "Event loop is closed"):
            usual(kind, error, at)

    sys.excepthook = late
