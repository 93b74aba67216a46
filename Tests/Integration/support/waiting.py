"""Waiting for a state, as long as a busy machine may need to come to it."""

import time

# Nothing takes so long on a machine that works, however busy it is.
PATIENCE_SECONDS = 60


def wait_until(condition, what, seconds=PATIENCE_SECONDS, interval=0.02):
    """Waits until a condition is true, and returns its value.

    `what` says what did not happen if it does not come true: a text, or a function that makes one.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s: {what() if callable(what) else what}")
        time.sleep(interval)
    return value
