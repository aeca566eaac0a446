"""The error for a request that is not answered, with its HTTP status."""


class Refused(Exception):  # noqa: N818 (an outcome that is answered, not a failure)
    """One line for whoever asked, with the HTTP status."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason
