"""The one error that is shown to people as it stands."""


class UserError(Exception):
    """Something the person can mend. The message says what (with the value), why, and what to do."""
