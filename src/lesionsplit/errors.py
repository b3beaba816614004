"""Everything that can be foreseen to go wrong.

LesionsplitError             the command line prints its one line and exits with 2
├── SettingsError            a setting is unknown, of the wrong type or out of range
├── DataError                a table, an image or a mask is not what it should be
│   └── NoLungError          there is no lung in a slice or a volume
├── WeightsError             a weights file is missing, broken or of another kind
└── RunError                 a run folder exists, is missing, or cannot be continued
    └── DivergedError        a term of the loss is not finite
"""


class LesionsplitError(Exception):
    """What a user can cause and can mend; its text says what was found, what is allowed, what to do."""


class SettingsError(LesionsplitError):
    """A setting is unknown, of the wrong type or out of range."""


class DataError(LesionsplitError):
    """A table, an image or a mask is not what it should be."""


class NoLungError(DataError):
    """There is no lung in a slice or a volume."""


class WeightsError(LesionsplitError):
    """A weights file is missing, broken or of another kind."""


class RunError(LesionsplitError):
    """A run folder exists already, is missing, or cannot be continued."""


class DivergedError(RunError):
    """A term of the loss is not finite; the last good checkpoint has been kept."""
