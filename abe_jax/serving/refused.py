"""What the server does not do for a request, and the status of HTTP that says so."""


class Refused(Exception):  # noqa: N818 (an outcome that is answered, not a failure)
    """One line for whoever asked, with its status of HTTP."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason
