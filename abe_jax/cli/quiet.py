"""Keeps libraries from logging what our one line says already."""

import logging
import sys
import threading
import traceback


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
    usual = sys.unraisablehook

    def late(failed: "sys.UnraisableHookArgs") -> None:
        # TensorStore's threads, done with a write that was given up, find nobody to tell.
        frames = traceback.extract_tb(failed.exc_traceback)
        inside = all("asyncio" in frame.filename for frame in frames)
        if not (inside and str(failed.exc_value) == "Event loop is closed"):
            usual(failed)

    sys.unraisablehook = late
